"""Every request that a client can make, as data: the one place with paths and JSON names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import time
from typing import Any, Final, Generic, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from vera_client.answers import (
    Answer,
    Outcome,
    as_json,
    as_object,
    as_outcomes,
    as_success,
    as_text,
)
from vera_client.records import Cancelled, Function, Functions, Health, Page, TaskRecord
from vera_worker.task_ids import new_id

T = TypeVar("T")


#: Submissions that go in one request: small enough to be sent whole before an answer is read.
BATCH_LINES: Final = 500
BATCH_BYTES: Final = 512 * 1024
#: Seconds that a reload is waited for: it imports all task modules.
_RELOAD_S: Final = 600.0


class Options(TypedDict, total=False):
    """What a submission may say beside the function and its arguments; None says nothing."""

    task_id: str | None
    #: `low`, `normal`, `high` or `critical`.
    priority: str | None
    #: Seconds that one attempt may take.
    timeout: float | None
    #: Seconds before the first start.
    delay: float | None
    run_at: datetime | str | None
    expires_at: datetime | str | None
    max_retries: int | None
    retry_delay: float | None
    #: `cpu_cores`, `memory_mb`, `gpus`.
    requirements: Mapping[str, float] | None
    tags: Sequence[str] | None
    metadata: Any


class Filter(TypedDict, total=False):
    """Which tasks to cancel or to forget; None does not choose."""

    status: str | None
    function: str | None
    tag: str | None


class Which(TypedDict, total=False):
    """Which tasks to list; None does not choose."""

    status: str | None
    function: str | None
    tag: str | None
    limit: int | None
    #: Where the page before ended.
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request, and how to read its answer."""

    method: str = "GET"
    path: str
    read: Callable[[Answer], T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    #: What the body is.
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Seconds that the worker may hold the answer back; None: for ever.
    held_s: float | None = 0.0
    #: Statuses that are answers as well, not problems.
    also: AbstractSet[int] = frozenset()
    #: Whether sending it twice has the same effect as sending it once.
    repeatable: bool = True

    def once(self) -> "Call[T]":
        """Return the same call, not to be repeated."""
        return replace(self, repeatable=False)


_record: Final = as_json(TaskRecord)
_page: Final = as_json(Page)
_functions: Final = as_json(Functions)
_cancelled: Final = as_json(Cancelled)
_purged: Final = as_json(dict[str, int])
_health: Final = as_json(Health)


def batches(function: str, args: Iterable[Sequence[Any]], options: Options) -> Iterator[bytes]:
    """Yield submissions as NDJSON, as many at a time as the worker answers at once."""
    lines: list[bytes] = []
    size = 0
    for each in args:
        line = submission(function, each, None, options) + b"\n"
        if lines and (len(lines) == BATCH_LINES or size + len(line) > BATCH_BYTES):
            yield b"".join(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield b"".join(lines)


def batch(
    lines: bytes, wait: float | None = None, *, held_s: float | None = None
) -> Call[list[Outcome]]:
    """Submit one of `batches`; each task is accepted or refused alone.

    A full queue is waited for, without `held_s` as long as it takes.
    """
    return Call(
        method="POST",
        path="/tasks",
        read=as_outcomes,
        query=_held(wait),
        body=lines,
        media_type="application/x-ndjson",
        held_s=held_s,
    )


def submission(
    function: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None, options: Options
) -> bytes:
    """Return a submission; with an id made here, so that a lost answer can be asked for again."""
    said = {name: value for name, value in options.items() if value is not None}
    payload = {"function": function, "args": args, "kwargs": kwargs or {}}
    return msgspec.json.encode({"task_id": new_id(time()), "payload": payload} | said)


def retry(task_id: str) -> Call[TaskRecord]:
    """Run an ended task again, as a new task."""
    path = f"{_task(task_id)}/retry"
    return Call(method="POST", path=path, read=_record, repeatable=False)


def cancel_many(which: Filter) -> Call[Cancelled]:
    """Cancel the tasks that match; all of them where nothing is chosen."""
    return Call(method="POST", path="/tasks/cancel", read=_cancelled, body=_filter(which))


def purge(which: Filter) -> Call[int]:
    """Have the ended tasks that match forgotten; all of them where nothing is chosen."""
    return Call(
        method="POST",
        path="/tasks/purge",
        read=lambda answer: _purged(answer)["purged"],
        body=_filter(which),
    )


def events(task_id: str | None, last_id: str | None) -> Call[str]:
    """Ask for what happens to a task, or to all of them, while it happens."""
    path = "/events" if task_id is None else f"{_task(task_id)}/events"
    said = {} if last_id is None else {"Last-Event-ID": last_id}
    return Call(path=path, read=as_text, headers=said, held_s=None)


def submit(
    function: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    options: Options,
    wait: float | None = None,
) -> Call[TaskRecord]:
    """Submit a task."""
    return submit_as(submission(function, args, kwargs, options), wait)


def submit_as(body: bytes, wait: float | None = None) -> Call[TaskRecord]:
    """Submit a task as `submission` has it."""
    return Call(
        method="POST",
        path="/task/submit",
        read=_record,
        query=_held(wait),
        body=body,
        held_s=wait or 0.0,
    )


def status(task_id: str, wait: float | None = None) -> Call[TaskRecord]:
    """Ask for a task's record, held back until the task has ended or `wait` is over."""
    return Call(path=_task(task_id), read=_record, query=_held(wait), held_s=wait or 0.0)


def cancel(task_id: str) -> Call[TaskRecord]:
    """Cancel a task; not repeatable, for the second time it has ended already."""
    return Call(method="DELETE", path=_task(task_id), read=_record, repeatable=False)


def output(task_id: str) -> Call[str]:
    """Ask for what the last attempt printed."""
    return Call(path=f"{_task(task_id)}/output", read=as_text)


def follow(task_id: str) -> Call[str]:
    """Ask for what an attempt prints, while it prints it."""
    path = f"{_task(task_id)}/output"
    return Call(path=path, read=as_text, query={"follow": "1"}, held_s=None)


def tasks(which: Which) -> Call[Page]:
    """Ask for tasks, newest first."""
    query = {name: str(value) for name, value in which.items() if value is not None}
    return Call(path="/tasks", read=_page, query=query)


def functions() -> Call[list[Function]]:
    """Ask what can be called."""
    return Call(path="/functions", read=lambda answer: _functions(answer).functions)


def health() -> Call[Health]:
    """Ask how the worker is; 503 is an answer too."""
    return Call(path="/health", read=_health, also={503})


def ready() -> Call[bool]:
    """Ask whether a task sent now would start."""
    return Call(path="/health/ready", read=as_success, also={503})


def metrics() -> Call[dict[str, Any]]:
    """Ask for the counts since the worker's start."""
    return Call(path="/metrics", read=as_object)


def prometheus() -> Call[str]:
    """Ask for the same and more in Prometheus' text format."""
    return Call(path="/metrics/prometheus", read=as_text)


def admin(verb: str) -> Call[dict[str, Any]]:
    """Tell the worker to `drain`, `resume` or `reload`."""
    held_s = _RELOAD_S if verb == "reload" else 0.0
    path = f"/admin/{verb}"
    return Call(method="POST", path=path, read=as_object, repeatable=False, held_s=held_s)


def _task(task_id: str) -> str:
    return f"/task/{quote(task_id, safe='')}"


def _filter(which: Filter) -> bytes:
    chosen = {name: value for name, value in which.items() if value is not None}
    return msgspec.json.encode(chosen or {"all": True})


def _held(wait: float | None) -> Mapping[str, str]:
    return {} if wait is None else {"wait": f"{wait:g}"}
