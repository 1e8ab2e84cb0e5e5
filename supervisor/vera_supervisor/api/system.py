"""The routes about the worker itself: health, metrics and functions."""

from datetime import UTC, datetime

from quart import Quart, Response

from vera_supervisor.api.answers import (
    FunctionOut,
    Functions,
    HealthOut,
    Live,
    MetricsOut,
    Ready,
)
from vera_supervisor.api.responses import json_response
from vera_supervisor.api.services import Services
from vera_supervisor.metrics import exposition
from vera_worker import __version__

_HTTP_OK, _HTTP_UNAVAILABLE = 200, 503
_GB = 1024**3


def add_routes(app: Quart, services: Services) -> None:
    """Add the routes."""
    scheduler = services.dispatcher.scheduler
    write_prometheus = exposition(
        services.metrics, services.gauges, services.config.worker.id, __version__
    )

    @app.get("/health")
    async def health() -> Response:
        verdict, usage = services.health(), services.host.usage
        body = HealthOut(
            status=verdict.state,
            worker_id=services.config.worker.id,
            active_tasks=scheduler.running,
            queue_size=scheduler.queued,
            cpu_percent=usage.cpu_percent,
            memory_percent=usage.memory_percent,
            timestamp=datetime.now(UTC),
            executors=scheduler.slots.counts(),
            pools=services.pools(),
            reasons=verdict.reasons,
            cpu_usage=usage.cpu_percent,
            memory_usage_mb=usage.memory_used_mb,
            enforcement=services.enforcement,
        )
        return json_response(body, _HTTP_OK if verdict.works else _HTTP_UNAVAILABLE)

    @app.get("/health/live")
    async def live() -> Response:
        return json_response(Live())

    @app.get("/health/ready")
    async def ready() -> Response:
        verdict = services.health()
        body = Ready("ready" if verdict.ready else "not ready", verdict.reasons)
        return json_response(body, _HTTP_OK if verdict.ready else _HTTP_UNAVAILABLE)

    @app.get("/metrics")
    async def metrics() -> Response:
        counts = services.metrics
        body = MetricsOut(
            tasks_completed=counts.completed,
            tasks_failed=counts.failed.total(),
            tasks_queued=scheduler.queued,
            tasks_cancelled=counts.cancelled,
            active_tasks=scheduler.running,
            average_execution_time=counts.average_execution_time_s,
            uptime_seconds=services.clock.now() - services.started_at,
            cpu_cores=services.host.cpu_cores,
            memory_total_gb=services.host.memory_total_bytes / _GB,
            failures_by_cause={cause.value: count for cause, count in counts.failed.items()},
            submissions_rejected=counts.refusals.total(),
            late_answers=scheduler.late_answers,
            executors=scheduler.slots.counts(),
            pools=services.pools(),
        )
        return json_response(body)

    @app.get("/metrics/prometheus")
    async def prometheus() -> Response:
        return Response(
            write_prometheus(),
            content_type="text/plain; version=0.0.4; charset=utf-8",
            headers={"x-content-type-options": "nosniff"},
        )

    @app.get("/functions")
    async def functions() -> Response:
        return json_response(
            Functions(
                [
                    FunctionOut(
                        name=function.info.name,
                        module=function.info.module,
                        signature=function.info.signature,
                        doc=function.info.doc,
                        pool=scheduler.waiting.line_of(function.info.name).pool,
                        limits=function.limits,
                        idempotent=function.info.options.idempotent,
                        usage=scheduler.waiting.habits.get(function.info.name),
                    )
                    for function in services.catalogue
                ]
            )
        )
