"""What a running task can know and say: its id, its time left, its progress, a wish to stop."""

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from vera_worker.errors import NoCurrentTask

#: Progress is sent at most so often; what is said in between is kept and the last word goes out.
PROGRESS_INTERVAL_S: Final = 0.1
#: A progress message is cut off here: it is no place for data.
_MESSAGE_CHARACTERS: Final = 1000


class TaskContext:
    """The task that this process runs now."""

    __slots__ = (
        "_deadline",
        "_link",
        "_poll_stop",
        "_send_progress",
        "_sent_at",
        "_stop",
        "_unsent",
        "attempt",
        "task_id",
    )

    def __init__(
        self,
        task_id: str,
        attempt: int,
        timeout_s: float,
        *,
        send_progress: Callable[[float | None, str | None], None],
        poll_stop: Callable[[], bool],
    ) -> None:
        self.task_id = task_id
        #: Counts from 1. Hand it to outside systems to let them refuse a stale attempt.
        self.attempt = attempt
        self._deadline = time.monotonic() + timeout_s
        self._send_progress = send_progress
        self._poll_stop = poll_stop
        #: Held by whoever uses the link; nobody waits for it while the task runs.
        self._link = threading.Lock()
        self._stop = False
        self._sent_at = -math.inf
        self._unsent: tuple[float | None, str | None] | None = None

    def time_left(self) -> float:
        """Return the seconds until this attempt is stopped; negative once that has begun."""
        return self._deadline - time.monotonic()

    @property
    def stop_requested(self) -> bool:
        """Whether the task should end now: it is cancelled, out of time, or the worker stops.

        After `limits.kill_grace` seconds the process is killed.
        """
        link = self._link
        if not self._stop and link.acquire(blocking=False):
            try:
                if self._poll_stop():
                    self._stop = True
            finally:
                link.release()
        return self._stop

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell clients how far the task is: `fraction` from 0 to 1, `message` in a few words."""
        self._unsent = (_from_0_to_1(fraction), _plain_text(message))
        if time.monotonic() - self._sent_at >= PROGRESS_INTERVAL_S:
            self.flush_progress()

    def flush_progress(self) -> None:
        """Send the last word that was held back, if there is one."""
        link = self._link
        if link.acquire(blocking=False):  # else another thread speaks, and what is kept goes later
            try:
                self._send_unsent()
            finally:
                link.release()

    def end(self) -> None:
        """Send the last word and let go of the link; for the executor alone.

        A thread that outlives its task says nothing more, and is asked to stop.
        """
        with self._link:
            self._send_unsent()
            self._disown()
            self._stop = True

    def after_fork(self) -> None:
        """Let go of the link in a process that the task forked; it is the parent's."""
        self._link = threading.Lock()  # the old one's holder may not exist in this process
        self._disown()

    def _send_unsent(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is not None:
            self._sent_at = time.monotonic()
            self._send_progress(*unsent)

    def _disown(self) -> None:
        self._send_progress = _say_nothing
        self._poll_stop = _never


def _from_0_to_1(fraction: float | None) -> float | None:
    if fraction is None or math.isnan(fraction := float(fraction)):
        return None
    return min(max(fraction, 0.0), 1.0)


def _plain_text(message: str | None) -> str | None:
    if message is None:
        return None
    return str(message)[:_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode()


def _say_nothing(_fraction: float | None, _message: str | None) -> None:
    pass


def _never() -> bool:
    return False


# A plain global, not a context variable: threads that a task starts belong to the same task.
_current: TaskContext | None = None


def current_task() -> TaskContext:
    """Return the task that this process runs now; raise NoCurrentTask outside of one."""
    if _current is None:
        raise NoCurrentTask("no task is running here; call this from a function that a worker runs")
    return _current


def progress(fraction: float | None = None, message: str | None = None) -> None:
    """Tell clients how far the running task is; no effect outside of one."""
    if _current is not None:
        _current.progress(fraction, message)


def enter(context: TaskContext | None) -> None:
    """Make `context` the current task; for the executor alone."""
    global _current  # noqa: PLW0603 - one task at a time is what an executor is
    _current = context


def after_fork() -> None:
    """Leave the link to the parent, in a process that a task forked; for the executor alone."""
    if _current is not None:
        _current.after_fork()
