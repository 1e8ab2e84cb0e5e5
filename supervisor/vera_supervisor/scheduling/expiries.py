"""Until when tasks may start. Pure: `now` is an argument."""

import heapq
import math
from collections.abc import Mapping
from typing import Final

from vera_supervisor.scheduling.live_task import LiveTask
from vera_worker.lifecycle import QUEUED

#: So many tasks that are gone already are not worth clearing away.
_FEW: Final = 64


class Expiries:
    """Remembers of the live tasks, by their ids, who fails at what time if it waits then."""

    def __init__(self, live: Mapping[str, LiveTask]) -> None:
        self._live = live
        #: Also of some that have ended, or have started since.
        self._due: list[tuple[float, str]] = []
        self._clear_at = _FEW

    @property
    def next_at(self) -> float:
        """When the next one may fail; infinity for never."""
        return self._due[0][0] if self._due else math.inf

    def watch(self, live: LiveTask) -> None:
        """Remember a task that may not start any more at `live.expires_at`."""
        heapq.heappush(self._due, (live.expires_at, live.task.task_id))
        if len(self._due) > self._clear_at:
            self._due = [entry for entry in self._due if entry[1] in self._live]
            heapq.heapify(self._due)
            self._clear_at = 2 * len(self._due) + _FEW

    def expired(self, now: float) -> list[LiveTask]:
        """Return those that still wait although their time to start has passed, once each."""
        found: dict[str, LiveTask] = {}
        while self._due and self._due[0][0] <= now:
            _, task_id = heapq.heappop(self._due)
            live = self._live.get(task_id)
            if live is not None and live.status is QUEUED and live.expires_at <= now:
                found[task_id] = live
        return list(found.values())
