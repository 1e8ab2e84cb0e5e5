"""A task that has not ended, as the scheduler holds it in memory."""

import math

import msgspec

from vera_worker.lifecycle import Status
from vera_worker.tasks import Failure, Progress, Requirements, Spent, Task

#: Nothing spent yet: one object for all tasks, of which there may be a million.
_NOTHING_SPENT = Spent()


class LiveTask(msgspec.Struct, kw_only=True, gc=False):
    """A task that has not ended, or whose end is not stored yet.

    Nothing in it refers back to it, so the garbage collector need not look at it.
    """

    task: Task
    status: Status = Status.QUEUED
    #: False until the store has it; it is no one's business before.
    added: bool = False
    attempt: int = 0
    spent: Spent = _NOTHING_SPENT
    #: What is reserved for its attempts: what it asked for, or a guess.
    need: Requirements | None = None
    #: Its key in the queue; None while it is not there.
    key: float | None = None
    #: The key that it had there last.
    place: float = 0.0
    #: Where it waits for a delay to pass: until then.
    delayed_until: float | None = None
    expires_at: float = math.inf
    slot_id: int | None = None
    accepted_at: float = 0.0
    started_at: float | None = None
    #: Seconds that its last attempt took, once that has ended.
    ran_s: float | None = None
    #: A client wants it to end: it is not tried again.
    unwanted: bool = False
    progress: Progress | None = None
    #: What its last attempt was allowed to use, in bytes; None: no limit.
    memory_bytes: int | None = None
    #: What its last attempt used, in MiB, if that was more than it was allowed.
    peak_memory_mb: float | None = None
    #: How its last attempt ended, if badly.
    failure: Failure | None = None

    @property
    def told(self) -> Status:
        """What clients may know: an end only once it is stored, and then the task is not here."""
        return Status.QUEUED if self.status is Status.QUEUED else Status.RUNNING
