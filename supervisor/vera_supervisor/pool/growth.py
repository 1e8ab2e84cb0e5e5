"""Whether an executor holds too much more memory than after its first task.

What the first task loads for good, such as a library, does not count. Memory is measured between
tasks, so that what a task needs for itself does not count either, but not after every short one.
"""

import logging
from collections.abc import Callable
from typing import Final

from vera_supervisor.pool.memory import resident_bytes

log = logging.getLogger(__name__)

#: Seconds between two looks at an executor that is busy all the time.
LOOK_INTERVAL_S: Final = 1.0
_MIB: Final = 1024 * 1024


class Growth:
    """The growth of one executor."""

    def __init__(
        self, pid: int, max_bytes: int | None, resident: Callable[[int], int] = resident_bytes
    ) -> None:
        self._pid = pid
        self._max_bytes = max_bytes
        self._resident = resident
        self._baseline: int | None = None
        self._look_at = 0.0

    def after_task(self, now: float) -> str | None:
        """A task has ended: return why there should be no other one, or None."""
        return self.at_rest(now) if now >= self._look_at else None

    def at_rest(self, now: float) -> str | None:
        """Return why an executor without a task should get none any more, or None."""
        if self._max_bytes is None:
            return None
        self._look_at = now + LOOK_INTERVAL_S
        resident = self._resident(self._pid)
        if self._baseline is None:
            self._baseline = resident
        grown = resident - self._baseline
        if grown <= self._max_bytes:
            return None
        most = self._max_bytes
        why = f"it has grown by {grown // _MIB} MiB, and max_growth is {most / _MIB:g} MiB"
        log.info("executor %d is replaced: %s", self._pid, why)
        return why
