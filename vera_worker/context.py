"""What a running task can know and say: its id, its time left, its progress, a wish to stop."""

import time
from collections.abc import Callable
from typing import Final

from vera_worker.errors import NoCurrentTask

#: Progress is sent at most so often; what is said in between is kept and the last word goes out.
PROGRESS_INTERVAL_S: Final = 0.1


class TaskContext:
    """The task that this process runs now."""

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
        self._stop = False
        self._sent_at = float("-inf")
        self._unsent: tuple[float | None, str | None] | None = None

    def time_left(self) -> float:
        """Return the seconds until this attempt is stopped; negative once that has begun."""
        return self._deadline - time.monotonic()

    @property
    def stop_requested(self) -> bool:
        """Whether the task should end now: it is cancelled, out of time, or the worker stops.

        After `limits.kill_grace` seconds the process is killed.
        """
        if not self._stop:
            self._stop = self._poll_stop()
        return self._stop

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell clients how far the task is: `fraction` from 0 to 1, `message` in a few words."""
        if fraction is not None:
            fraction = min(max(float(fraction), 0.0), 1.0)
        self._unsent = (fraction, message)
        now = time.monotonic()
        if now - self._sent_at >= PROGRESS_INTERVAL_S:
            self._sent_at = now
            self.flush_progress()

    def flush_progress(self) -> None:
        """Send the last word that was held back, if there is one."""
        if self._unsent is not None:
            fraction, message = self._unsent
            self._unsent = None
            self._send_progress(fraction, message)


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
