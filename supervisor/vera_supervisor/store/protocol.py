"""The store as a port: what the worker asks of any place that keeps tasks.

Writes are told to the store at once and in order, from the event loop; it acknowledges each by
a call to `done` on the loop once it is as durable as this store makes it. It may put many writes
into one commit. Reads never see a write that was not acknowledged.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_worker.errors import VeraError
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record


class StoreUnavailable(VeraError):
    """The store cannot be opened, or cannot be read just now; one sentence says why."""


class UnavailableNow(StoreUnavailable):
    """It may be well again in a moment: the disk is full or fails, or others read the file."""


class StoreFault(msgspec.Struct, frozen=True):
    """A write that was not, or perhaps not, carried out."""

    #: One sentence.
    reason: str


#: Called once for each write, with None or what went wrong.
Done: TypeAlias = Callable[[StoreFault | None], None]
#: For a new task: with the record of an earlier task of that id, where there is one.
Added: TypeAlias = Callable[[StoreFault | Record | None], None]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which records a page shows, newest first; None leaves a filter out."""

    status: Status | None = None
    function: str | None = None
    tag: str | None = None
    limit: int = 100
    #: Where the page before this one ended.
    cursor: str | None = None


class Page(msgspec.Struct, frozen=True):
    """Some records, and where the next page begins; None where there is none."""

    records: list[Record]
    cursor: str | None


class Store(Protocol):
    """Keeps tasks. `at` is in seconds since the epoch."""

    @property
    def fault(self) -> str | None:
        """Why no write can be carried out just now, in one sentence; None where all is well."""

    def add(self, effect: AddTask, done: Added) -> None:
        """Keep a new task, unless there is one of its id."""

    def start(self, effect: StartAttempt, at: float, done: Done) -> None:
        """Note that an attempt begins; a fault where the task has ended or is not here."""

    def requeue(self, effect: RequeueTask, at: float, done: Done) -> None:
        """Note that an attempt ended and the task waits; a fault where it is over or not here."""

    def finish(self, effect: FinishTask, at: float, done: Done) -> None:
        """Note how a task ended. A task ends once: another end is a fault and changes nothing.

        The same end told again, after a fault, is acknowledged. A task that is not here any more
        has been forgotten since it ended: that is acknowledged as well.
        """

    async def get(self, task_id: str) -> Record | None:
        """Return the record of a task, or None; what was read does not change afterwards."""

    async def page(self, query: Query) -> Page:
        """Return the records that a query asks for."""

    async def unended(self, after: int, limit: int) -> list[Record]:
        """Return the first `limit` tasks after number `after` that have not ended, in that order.

        What a worker takes up again when it starts.
        """

    async def forget(self, query: Query) -> int:
        """Forget the ended tasks that match; return how many. Limit and cursor do not matter."""

    async def prune(self, now: float) -> int:
        """Forget ended tasks that are too old or too many; return how many.

        Raises StoreUnavailable, as all that reads does.
        """

    async def open(self) -> None:
        """Make ready; raise StoreUnavailable when that cannot be."""

    async def close(self) -> None:
        """Carry out what is still to be written, and let go."""


def over(task_id: str) -> StoreFault:
    """Return what a write to a task is answered that has ended, or is not here."""
    return StoreFault(f"task {task_id!r} has ended already")


def same_end(known: Record | FinishTask, told: FinishTask) -> bool:
    """Return whether the end that is told is the one that is known."""
    return (known.attempt, known.status, known.result, known.failure) == (
        told.attempt,
        told.status,
        told.result,
        told.failure,
    )
