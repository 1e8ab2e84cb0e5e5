"""What can happen to the scheduler: its inputs, one frozen type each."""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from vera_supervisor.scheduling.admission import Load
from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.scheduling.reservations import Capacity
from vera_worker.lifecycle import Status
from vera_worker.tasks import Failure, Progress, Record, Task, Used

_NONE: Mapping[str, Status] = {}


class _Event(msgspec.Struct, frozen=True, gc=False):
    pass


class Submitted(_Event, frozen=True):
    """A client wants `task` done: after `delay_s`, and not started after `expires_in_s`."""

    task: Task
    delay_s: float = 0.0
    expires_in_s: float | None = None
    #: How those of the tasks that it depends on ended that are not live any more.
    ended: Mapping[str, Status] = _NONE


class Saved(_Event, frozen=True):
    """The store has carried out `effect`; for AddTask, `existing` is a task that had that id."""

    effect: AddTask | StartAttempt | RequeueTask | FinishTask
    existing: Record | None = None


class SaveFailed(_Event, frozen=True):
    """The store could not carry out `effect`; whether it did so in part is not known."""

    effect: AddTask | StartAttempt | RequeueTask | FinishTask
    reason: str


class Recovered(_Event, frozen=True):
    """The store holds these tasks, which have not ended, from an earlier run of the worker.

    They come in order of acceptance, in one event or several; `more` says that others follow, and
    nothing is started before the last. `wall` is the present time in seconds since the epoch.
    """

    records: tuple[Record, ...]
    wall: float
    more: bool
    #: How those of the tasks that they depend on ended that the store still knows as ended.
    ended: Mapping[str, Status] = _NONE


class CancelAsked(_Event, frozen=True):
    """A client wants that task not to run, or to stop."""

    task_id: str


class ExecutorReady(_Event, frozen=True):
    """A launched executor has loaded its functions."""

    slot_id: int


class ExecutorAnswered(_Event, frozen=True):
    """An idle executor answered its self-check."""

    slot_id: int
    #: Why it must not run another task, if so.
    unfit: str | None = None


class ExecutorLost(_Event, frozen=True):
    """The process of a slot is gone, with all that it had started."""

    slot_id: int
    #: One sentence: what ended it.
    message: str
    exit_code: int | None = None
    signal: str | None = None
    output: bytes = b""
    stack: str | None = None
    #: What its task used, if the kernel killed it for that.
    excess_bytes: int | None = None
    #: What it had used shortly before it was killed; None: nobody looked.
    used: Used | None = None


class MemoryExceeded(_Event, frozen=True):
    """A running task uses more memory than it may, with all its processes."""

    slot_id: int
    task_id: str
    attempt: int
    used_bytes: int


class AttemptReported(_Event, frozen=True):
    """A running task said how far it is."""

    slot_id: int
    task_id: str
    attempt: int
    progress: Progress


class AttemptEnded(_Event, frozen=True):
    """A living executor says what became of its task: a result, or else a failure."""

    slot_id: int
    task_id: str
    attempt: int
    result: bytes | None
    failure: Failure | None
    output: bytes = b""
    #: Why the executor must not run another task, if so.
    unfit: str | None = None
    #: None where it was over too soon to use much.
    used: Used | None = None


class TimePassed(_Event, frozen=True):
    """A deadline may be due."""


class LoadSeen(_Event, frozen=True):
    """So much of the machine is in use."""

    load: Load


class CapacitySeen(_Event, frozen=True):
    """Tasks may reserve so much."""

    capacity: Capacity


class CodeReplaced(_Event, frozen=True):
    """New executors run other code from now on: those that there are get no further task."""


class DrainAsked(_Event, frozen=True):
    """Accept and start nothing more; let what runs finish."""


class ResumeAsked(_Event, frozen=True):
    """Accept and start tasks again."""


class InterruptAsked(_Event, frozen=True):
    """The time to drain is over: put running tasks back and kill their executors."""


Event: TypeAlias = (
    Submitted
    | Recovered
    | Saved
    | SaveFailed
    | CancelAsked
    | ExecutorReady
    | ExecutorAnswered
    | ExecutorLost
    | MemoryExceeded
    | AttemptReported
    | AttemptEnded
    | TimePassed
    | LoadSeen
    | CapacitySeen
    | CodeReplaced
    | DrainAsked
    | ResumeAsked
    | InterruptAsked
)
