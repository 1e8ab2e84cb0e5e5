"""What a task is, what became of it, and how an attempt can end badly."""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from vera_worker.lifecycle import TERMINAL, Status


class Priority(StrEnum):
    """The four classes of the queue, most urgent first."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


#: Rank of each class: 0 goes first.
RANK: Final = {priority: rank for rank, priority in enumerate(Priority)}


#: The name of the pool whose executors run the functions of no other pool.
DEFAULT_POOL: Final = "default"


class Isolation(StrEnum):
    """How far an attempt is kept from others."""

    POOLED = "pooled"
    FRESH = "fresh"
    SANDBOXED = "sandboxed"


class Sandbox(msgspec.Struct, frozen=True):
    """How a sandboxed attempt is confined, beyond what holds for all of them."""

    #: Whether it may use the network.
    network: bool = True


class OnDependencyFailure(StrEnum):
    """What becomes of a task when one that it depends on does not complete."""

    #: It fails as well, without having run.
    FAIL = "fail"
    #: It runs all the same.
    RUN = "run"


class Cause(StrEnum):
    """Why an attempt ended badly."""

    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    MEMORY = "memory"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNSERIALISABLE_RESULT = "unserialisable_result"
    WORKER_LOST = "worker_lost"
    INTERRUPTED = "interrupted"


class Requirements(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What one attempt needs of the machine, and has to itself while it runs; None: not said."""

    cpu_cores: Annotated[float, Meta(gt=0)] | None = None
    #: In MiB; at the same time the most that the attempt may use.
    memory_mb: Annotated[float, Meta(gt=0)] | None = None
    gpus: Annotated[int, Meta(ge=0)] | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One accepted submission; nothing of it ever changes."""

    task_id: str
    function: str
    #: The JSON object `{"function", "args", "kwargs"}` as it was sent.
    payload: bytes
    priority: Priority
    #: Seconds that one attempt may take.
    timeout_s: float
    #: When it was accepted, seconds since the epoch.
    queued_at: float
    max_retries: int = 0
    #: Seconds before the first retry; doubled for each further one.
    retry_delay_s: float = 1.0
    #: Its earliest and its latest start, seconds since the epoch.
    run_at: float | None = None
    expires_at: float | None = None
    #: Ids of older tasks that must end before it starts, and what to do if one does not complete.
    depends_on: tuple[str, ...] = ()
    on_dependency_failure: OnDependencyFailure = OnDependencyFailure.FAIL
    requirements: Requirements | None = None
    tags: tuple[str, ...] = ()
    #: Any JSON, as it was sent.
    metadata: bytes | None = None
    #: The task that this one runs again.
    retry_of: str | None = None
    #: Who sent it: the name of a token, where there are several.
    client: str | None = None
    #: What makes two submissions of one id the same submission.
    digest: bytes = b""


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The death certificate of one attempt; what does not apply is None."""

    cause: Cause
    #: One sentence.
    message: str
    type: str | None = None
    traceback: str | None = None
    exit_code: int | None = None
    #: Name of the signal that ended the executor, e.g. "SIGSEGV".
    signal: str | None = None
    timeout_s: float | None = None
    limit_mb: float | None = None
    peak_memory_mb: float | None = None
    cpu_seconds: float | None = None
    duration_s: float | None = None
    #: The Python stacks of all threads just before the kill.
    stack: str | None = None
    output_tail: str | None = None


class Spent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a task has used up of its budgets: its own failures, and losses of its executor."""

    retries: int = 0
    crashes: int = 0
    #: How many of its function's memory tiers were not enough.
    memory_tiers: int = 0


class Used(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an attempt used, with its children that have ended."""

    cpu_seconds: float
    #: The most memory at one time, of the executor and its largest child.
    peak_bytes: int


class Progress(msgspec.Struct, frozen=True, gc=False):
    """What a running task last said of itself."""

    fraction: float | None
    message: str | None


class Record(msgspec.Struct, kw_only=True, gc=False):
    """A task and what became of it, as the store keeps it; nothing in it refers back to it."""

    task: Task
    #: Its place in the order of acceptance, given by the store.
    number: int = 0
    status: Status = Status.QUEUED
    #: The attempt that runs or ran last, from 1; 0 before the first.
    attempt: int = 0
    #: What the attempts so far have cost it.
    spent: Spent = Spent()
    #: When a task that waits to be tried again may start; None where it keeps its first place.
    ready_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    #: The result as JSON.
    result: bytes | None = None
    failure: Failure | None = None
    #: Captured stdout and stderr of the last attempt.
    output: bytes = b""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in TERMINAL
