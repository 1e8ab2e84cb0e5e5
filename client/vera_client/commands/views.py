"""A task's record and a function in words, for people."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from vera_client.commands.screen import percent, seconds
from vera_client.records import Function, TaskRecord
from vera_worker.tasks import DEFAULT_POOL, Failure

LIST_HEADER = ("ID", "STATUS", "FUNCTION", "PRIORITY", "QUEUED", "TOOK", "ERROR")
FUNCTIONS_HEADER = ("FUNCTION", "DOES", "LIMITS")
_MAX_ERROR = 80
_MAX_CALL = 500


def list_row(record: TaskRecord) -> tuple[str, ...]:
    """Return a task as a row of a list."""
    return (
        record.task_id,
        record.status,
        record.function,
        record.priority,
        _moment(record.queued_at),
        _span(record.started_at, record.completed_at),
        clip(record.error or "", _MAX_ERROR),
    )


def function_row(function: Function) -> tuple[str, ...]:
    """Return a function as a row of a list."""
    limits = [f"{name}={value}" for name, value in function.limits.items() if value is not None]
    if function.pool != DEFAULT_POOL:
        limits.insert(0, f"pool={function.pool}")
    if not function.idempotent:
        limits.append("idempotent=False")
    return f"{function.name}{function.signature}", function.doc, ", ".join(limits)


def record_fields(record: TaskRecord) -> Iterator[tuple[str, str]]:
    """Yield everything of a task that is worth knowing."""
    yield "task", record.task_id
    yield "status", record.status
    yield "call", clip(call_of(record.payload), _MAX_CALL)
    yield "priority", record.priority
    if record.position is not None:
        blocked = f", waits for {record.blocked_by}" if record.blocked_by else ""
        yield "position", f"{record.position}{blocked}"
    if record.tags:
        yield "tags", ", ".join(record.tags)
    yield from _course(record)
    if record.completed:
        yield "result", _json(record.result)
    if record.error:
        yield "error", record.error
    if record.failure:
        yield from _failure_fields(record.failure)


def call_of(payload: dict[str, Any]) -> str:
    """Return a payload as the call that it is."""
    args = [_json(value) for value in payload.get("args") or ()]
    kwargs = [f"{name}={_json(value)}" for name, value in (payload.get("kwargs") or {}).items()]
    return f"{payload.get('function', '?')}({', '.join(args + kwargs)})"


def clip(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _course(record: TaskRecord) -> Iterator[tuple[str, str]]:
    if record.attempt:
        retries = f", at most {record.max_retries} retries" if record.max_retries else ""
        yield "attempt", f"{record.attempt}{retries}"
    if record.worker_id:
        yield "worker", record.worker_id
    yield "queued", _moment(record.queued_at)
    if record.started_at:
        waited = _span(record.queued_at, record.started_at)
        yield "started", f"{_moment(record.started_at)}  after {waited}"
    if record.completed_at:
        took = _span(record.started_at or record.queued_at, record.completed_at)
        yield "ended", f"{_moment(record.completed_at)}  after {took}"
    if record.progress and not record.ended:
        fraction = record.progress.fraction
        done = "" if fraction is None else f"{percent(fraction)}  "
        yield "progress", f"{done}{record.progress.message or ''}".rstrip()


def _failure_fields(failure: Failure) -> Iterator[tuple[str, str]]:
    yield "cause", failure.cause
    facts = {
        "signal": failure.signal,
        "exit code": failure.exit_code,
        "time limit": failure.timeout_s and seconds(failure.timeout_s),
        "memory limit": failure.limit_mb and f"{failure.limit_mb:.0f} MB",
        "peak memory": failure.peak_memory_mb and f"{failure.peak_memory_mb:.0f} MB",
        "CPU time": failure.cpu_seconds and seconds(failure.cpu_seconds),
        "traceback": failure.traceback,
        "stack": failure.stack,
        "last output": failure.output_tail,
    }
    # A text of one line still goes below its label, as one of many does.
    below = {"traceback", "stack", "last output"}
    for label, fact in facts.items():
        if fact is not None and fact != "":
            yield label, f"{str(fact).rstrip()}\n" if label in below else str(fact)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z" if moment else ""


def _span(start: datetime | None, end: datetime | None) -> str:
    return seconds(max(0.0, (end - start).total_seconds())) if start and end else ""
