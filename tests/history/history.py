"""What happened to tasks, as seen from three sides: clients, the runs themselves, the store."""

from enum import Enum, auto
from typing import Any, NamedTuple


class Heard(Enum):
    """What a client heard of its submission."""

    ACCEPTED = auto()
    #: A 4xx or 5xx answer: it was turned down, or its fate is open (503).
    REFUSED = auto()
    #: No answer: it may have been accepted.
    NOTHING = auto()


class Said(NamedTuple):
    """A client asked for a task."""

    task_id: str
    function: str
    heard: Heard


class Seen(NamedTuple):
    """A client read how a task ended."""

    task_id: str
    status: str
    result: Any


class Ran(NamedTuple):
    """A run began, or came to its end; written by the task itself."""

    task_id: str
    attempt: int
    #: Drawn by the run: no two runs have the same.
    token: str
    ended: bool
    #: Seconds on the machine's monotonic clock.
    at: float


class Kept(NamedTuple):
    """What the store has of a task in the end."""

    task_id: str
    status: str
    attempt: int
    result: Any
    cause: str | None
    #: The number of tasks that were accepted before it.
    order: int
    #: 0 is the most urgent class.
    rank: int
    #: Seconds since the epoch; when its last attempt started, if any did.
    queued_at: float
    started_at: float | None


class History(NamedTuple):
    """All of it."""

    said: list[Said]
    seen: list[Seen]
    ran: list[Ran]
    kept: list[Kept]
