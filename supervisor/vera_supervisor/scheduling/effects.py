"""What the scheduler wants done: its outputs, one frozen type each. The dispatcher does them."""

from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from vera_worker.lifecycle import Status
from vera_worker.tasks import DEFAULT_POOL, Failure, Progress, Sandbox, Spent, Task


class Refusal(StrEnum):
    """Why a submission or a cancellation is turned down."""

    QUEUE_FULL = "queue_full"
    DRAINING = "draining"
    #: Another task has that id.
    CONFLICT = "conflict"
    STORE = "store"
    #: It depends on a task that there is not.
    DEPENDENCY = "dependency"
    #: It needs more than this worker has.
    IMPOSSIBLE = "impossible"
    #: The task has ended, or there is none of that id.
    TOO_LATE = "too_late"


#: What may be otherwise in a moment; whoever is refused for another reason need not come back.
PASSING: Final = frozenset({Refusal.QUEUE_FULL, Refusal.DRAINING, Refusal.STORE})


class _Effect(msgspec.Struct, frozen=True, gc=False):
    pass


class AddTask(_Effect, frozen=True):
    """Store a new task; acknowledged by Saved."""

    task: Task
    delay_s: float
    expires_in_s: float | None


class StartAttempt(_Effect, frozen=True):
    """Store that an attempt begins; acknowledged by Saved where `acknowledge` asks for it.

    It repeats what was spent before: the store may have refused the RequeueTask that said so.
    """

    task_id: str
    attempt: int
    spent: Spent
    acknowledge: bool


class RequeueTask(_Effect, frozen=True):
    """Store that a task waits for another attempt."""

    task_id: str
    attempt: int
    failure: Failure
    delay_s: float
    output: bytes
    spent: Spent


class FinishTask(_Effect, frozen=True):
    """Store how a task ended, once and for all; acknowledged by Saved."""

    task_id: str
    attempt: int
    status: Status
    result: bytes | None
    failure: Failure | None
    output: bytes


class Accept(_Effect, frozen=True):
    """Tell the client that its task is ours; `position` is None where it no longer waits."""

    task_id: str
    status: Status
    position: int | None
    #: Whether the task had been accepted before.
    known: bool
    #: Of the submission that this answers; others may have asked for the same id.
    digest: bytes = b""


class Refuse(_Effect, frozen=True):
    """Tell the client that what it asked for is not done."""

    task_id: str
    refusal: Refusal
    detail: str
    #: Of the submission that this answers; others may have asked for the same id.
    digest: bytes = b""
    #: The field of the submission that is at fault.
    field: str | None = None
    #: The pool whose own queue is full.
    pool: str | None = None


class Announce(_Effect, frozen=True):
    """A task has ended and that is stored: tell all who wait."""

    task: Task
    status: Status
    failure: Failure | None
    #: Seconds from acceptance to the last start, and from there to the end; None if never started.
    waited_s: float | None
    ran_s: float | None
    attempt: int = 0


class Report(_Effect, frozen=True):
    """A running task said how far it is: tell all who listen."""

    task: Task
    attempt: int
    progress: Progress


class Launch(_Effect, frozen=True):
    """Start an executor process in that slot."""

    slot_id: int
    pool: str = DEFAULT_POOL
    #: A number that no other executor of the pool has now; from 0, below the pool's maximum.
    seat: int = 0


class Assign(_Effect, frozen=True):
    """Send a task to an idle executor."""

    slot_id: int
    task: Task
    attempt: int
    #: What it may use with all its processes; None: no limit.
    memory_bytes: int | None = None
    #: How it is confined; None: it is not.
    sandbox: Sandbox | None = None


class Stop(_Effect, frozen=True):
    """Ask a running task to stop, and its subprocesses with SIGTERM."""

    slot_id: int


class DumpStack(_Effect, frozen=True):
    """Have a running task's Python stack written down; its kill is near."""

    slot_id: int


class Kill(_Effect, frozen=True):
    """Kill the executor and all that it started."""

    slot_id: int


class Check(_Effect, frozen=True):
    """Ask an idle executor for a sign of life."""

    slot_id: int


class Retire(_Effect, frozen=True):
    """Let an idle executor go."""

    slot_id: int


Effect: TypeAlias = (
    AddTask
    | StartAttempt
    | RequeueTask
    | FinishTask
    | Accept
    | Refuse
    | Announce
    | Report
    | Launch
    | Assign
    | Stop
    | DumpStack
    | Kill
    | Check
    | Retire
)
