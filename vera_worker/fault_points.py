"""Named places at which a test can have a process killed; in production none is armed.

`VERA_FAULT_POINT=task_stored:3` in the environment kills the supervisor, by SIGKILL, when it
reaches that point for the third time. Points of executors kill the executor that reaches them.
"""

import os
import signal
import time
from enum import StrEnum
from typing import Final

VARIABLE: Final = "VERA_FAULT_POINT"

#: Gives other threads the time to do, before the kill, what they should not do yet.
_MOMENT_S: Final = 0.05


class FaultPoint(StrEnum):
    """Between two steps that a crash must not tear apart."""

    #: A submission was read and checked; nobody has been told.
    SUBMISSION_READ = "submission_read"
    #: In the store: before writes are committed, once they are and nobody knows, and before the log
    #: is brought into the database.
    COMMIT_BEGUN = "commit_begun"
    COMMITTED = "committed"
    CHECKPOINT_BEGUN = "checkpoint_begun"
    #: The store has a task that is not in the queue yet.
    TASK_STORED = "task_stored"
    #: The store was told of a start that no executor knows of.
    START_TOLD = "start_told"
    #: An executor has the task.
    TASK_SENT = "task_sent"
    #: An executor has answered, and the store does not know.
    ANSWER_RECEIVED = "answer_received"
    #: The store has the end of a task, and no client knows.
    END_STORED = "end_stored"
    DRAIN_BEGUN = "drain_begun"
    #: What still ran at the end of the drain is put back.
    INTERRUPTED = "interrupted"
    #: In the executor: before the function is called, and after it returned.
    TASK_RECEIVED = "task_received"
    TASK_RAN = "task_ran"


# By these names as well: to look a member up in its class costs five times as much.
(
    SUBMISSION_READ,
    COMMIT_BEGUN,
    COMMITTED,
    CHECKPOINT_BEGUN,
    TASK_STORED,
    START_TOLD,
    TASK_SENT,
    ANSWER_RECEIVED,
    END_STORED,
    DRAIN_BEGUN,
    INTERRUPTED,
    TASK_RECEIVED,
    TASK_RAN,
) = FaultPoint

#: Points that only executors reach.
OF_EXECUTORS: Final = frozenset({FaultPoint.TASK_RECEIVED, FaultPoint.TASK_RAN})


class Armed:
    """One point, and how often it is still passed unharmed."""

    def __init__(self, text: str) -> None:
        name, _, count = text.partition(":")
        self._point = FaultPoint(name)
        self._left = int(count or 1)

    def reached(self, point: FaultPoint) -> None:
        """Kill this process if its time has come."""
        if point is self._point:
            self._left -= 1
            if self._left == 0:
                time.sleep(_MOMENT_S)
                os.kill(os.getpid(), signal.SIGKILL)


armed: Final = Armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def reach(point: FaultPoint) -> None:
    """Pass `point`, or die there."""
    if armed is not None:
        armed.reached(point)
