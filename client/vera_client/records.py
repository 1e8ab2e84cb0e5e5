"""What a worker answers, as types; fields that a client does not know are passed over."""

from datetime import datetime
from typing import Any

import msgspec

from vera_worker.lifecycle import TERMINAL, Status
from vera_worker.tasks import DEFAULT_POOL, Failure, Priority, Progress


class TaskRecord(msgspec.Struct, kw_only=True):
    """A task and what became of it; the answer to a submission has only its first fields."""

    task_id: str
    status: Status
    #: Its place in the queue, from 1, and what holds it there.
    position: int | None = None
    blocked_by: str | None = None
    #: `{"function", "args", "kwargs"}`.
    payload: dict[str, Any] = {}
    priority: Priority = Priority.NORMAL
    queued_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    result: Any = None
    #: One sentence.
    error: str | None = None
    attempt: int = 0
    max_retries: int = 0
    worker_id: str | None = None
    tags: list[str] = []
    metadata: Any = None
    #: The task that this one runs again.
    retry_of: str | None = None
    progress: Progress | None = None
    failure: Failure | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in TERMINAL

    @property
    def completed(self) -> bool:
        """Whether there is a result."""
        return self.status is Status.COMPLETED

    @property
    def function(self) -> str:
        """The name of the function; empty where the answer did not tell."""
        return str(self.payload.get("function", ""))


class Page(msgspec.Struct, kw_only=True):
    """Some of a worker's tasks, newest first; `cursor` asks for the next ones."""

    tasks: list[TaskRecord]
    cursor: str | None = None


class Cancelled(msgspec.Struct):
    """How many tasks were cancelled at once, and how many were running and are told to stop."""

    cancelled: int
    stopping: int


class TaskEvent(msgspec.Struct, kw_only=True):
    """Something that happened to a task, or `reset`: events were lost, look how things stand."""

    #: `state`, `queued`, `started`, `progress`, `requeued`, `ended` or `reset`.
    kind: str
    #: What to go on from after a connection that broke.
    id: str | None
    #: As the worker sent it; of a `state`, the whole record.
    data: dict[str, Any]


class Function(msgspec.Struct, kw_only=True):
    """A function that can be called."""

    name: str
    signature: str = "(…)"
    #: First line of the docstring.
    doc: str = ""
    #: The pool of executors that it runs in.
    pool: str = DEFAULT_POOL
    limits: dict[str, Any] = {}
    #: False: never started a second time, even when its worker was lost.
    idempotent: bool = True


class Functions(msgspec.Struct):
    """All that can be called on a worker."""

    functions: list[Function]


class Pool(msgspec.Struct, kw_only=True):
    """How a pool of executors is."""

    max_workers: int = 0
    #: Tasks that wait for one of its executors.
    queued: int = 0
    #: How many executors are in each state.
    executors: dict[str, int] = {}


class Health(msgspec.Struct, kw_only=True):
    """How a worker is, and why."""

    #: `healthy`, `degraded`, `draining` or `unhealthy`.
    status: str
    worker_id: str = ""
    active_tasks: int = 0
    queue_size: int = 0
    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    memory_usage_mb: float = 0.0
    #: By name.
    pools: dict[str, Pool] = {}
    reasons: list[str] = []
