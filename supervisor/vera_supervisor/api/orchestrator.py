"""What Vera's orchestrator calls on a remote worker: what can you do, and do this now."""

from typing import Final

from quart import Quart, Response

from vera_supervisor.api.answers import Capabilities, Outcome, OutcomeMetrics
from vera_supervisor.api.problems import Problem
from vera_supervisor.api.requests import json_body
from vera_supervisor.api.responses import json_response
from vera_supervisor.api.schemas import record_out
from vera_supervisor.api.services import Services
from vera_supervisor.api.submissions import read_execution, run_again
from vera_supervisor.api.tasks import accepted
from vera_supervisor.scheduling.effects import Accept
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record, Task

_MS: Final = 1000.0
_BAD_ENDS: Final = (Status.FAILED, Status.CANCELLED)
#: A task's own timeout ends it; a client that waits for it needs no other.
_NO_LIMIT_S: Final = 1e9


def add_routes(app: Quart, services: Services) -> None:
    """Add the routes."""

    @app.get("/capabilities")
    async def capabilities() -> Response:
        return json_response(
            Capabilities(
                capabilities=["python", "remote_compute"],
                max_concurrent_tasks=services.max_executors,
                functions=[function.info.name for function in services.catalogue],
                worker_id=services.config.worker.id,
            )
        )

    @app.post("/execute")
    async def execute() -> Response:
        accept = await _taken(services, await read_execution(await json_body(), services))
        record = await services.dispatcher.wait_ended(accept.task_id, _NO_LIMIT_S)
        if record is None or not record.ended:
            detail = f"the worker stops; look for task {accept.task_id!r} later"
            raise Problem(503, detail, retry_after=services.dispatcher.retry_after())
        return json_response(_outcome(record, services))


async def _taken(services: Services, task: Task) -> Accept:
    """Have an execution accepted; one that is known and ended badly is tried again.

    The orchestrator sends an id again when it has lost the answer, and when it wants another try.
    """
    try:
        accept = await accepted(services, task)
    except Problem as problem:
        if problem.field == "task_id":
            problem.field = "id"  # so it is called here
        raise
    again = accept.status in _BAD_ENDS and task.function not in services.catalogue.at_most_once
    return await accepted(services, run_again(task, services)) if again else accept


def _outcome(record: Record, services: Services) -> Outcome:
    shown = record_out(record, services.config.worker.id)
    started, ended = record.started_at, record.completed_at
    ran_s = 0.0 if started is None or ended is None else ended - started
    waited_s = 0.0 if started is None else started - record.task.queued_at
    return Outcome(
        success=record.status is Status.COMPLETED,
        data=shown.result,
        error=shown.error,
        metrics=OutcomeMetrics(
            execution_time_ms=ran_s * _MS,
            queue_time_ms=waited_s * _MS,
            attempts=record.attempt,
            task_id=record.task.task_id,
            worker_id=shown.worker_id,
        ),
    )
