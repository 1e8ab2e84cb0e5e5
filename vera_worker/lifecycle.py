"""The one table of task states and of the moves between them."""

from enum import StrEnum
from typing import Final

from vera_worker.errors import IllegalMove


class Status(StrEnum):
    """Where a task stands; the value is what clients read."""

    #: Accepted and durable; waits for an executor, a delay or a retry.
    QUEUED = "queued"
    #: One attempt is running in one executor.
    RUNNING = "running"
    #: The function returned; the result is stored.
    COMPLETED = "completed"
    #: The last attempt ended badly and no retry is left.
    FAILED = "failed"
    #: A client cancelled it before it completed.
    CANCELLED = "cancelled"


class Move(StrEnum):
    """What can happen to a task."""

    START = "start"
    REQUEUE = "requeue"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"


# By these names as well: to look a member up in its class costs five times as much.
QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED = Status
START, REQUEUE, COMPLETE, FAIL, CANCEL = Move

MOVES: Final[dict[Status, dict[Move, Status]]] = {
    Status.QUEUED: {
        Move.START: Status.RUNNING,
        Move.FAIL: Status.FAILED,
        Move.CANCEL: Status.CANCELLED,
    },
    Status.RUNNING: {
        Move.REQUEUE: Status.QUEUED,
        Move.COMPLETE: Status.COMPLETED,
        Move.FAIL: Status.FAILED,
        Move.CANCEL: Status.CANCELLED,
    },
    Status.COMPLETED: {},
    Status.FAILED: {},
    Status.CANCELLED: {},
}

#: The states that nothing leaves.
TERMINAL: Final = frozenset(status for status, moves in MOVES.items() if not moves)


def after(status: Status, move: Move) -> Status:
    """Return the status that `move` leads to; raise IllegalMove where there is none."""
    try:
        return MOVES[status][move]
    except KeyError:
        raise IllegalMove(f"a {status} task cannot {move}") from None
