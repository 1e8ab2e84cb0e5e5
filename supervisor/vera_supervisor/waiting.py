"""Where tasks wait, each in one place at a time.

    for other tasks ──they end──▶ for a delay ──it passes──▶ in the queue ──▶ (an executor)

Tasks of a function that no executor offers are parked beside all that, for as long as this worker
lives. Pure: `now` is an argument, and what is due is asked for.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from vera_supervisor.dependencies import Dependencies
from vera_supervisor.live_task import LiveTask
from vera_supervisor.priority_queue import PriorityQueue
from vera_worker.tasks import RANK, Priority, Task

#: So many cancelled tasks among the delayed ones are not worth clearing away.
_FEW: Final = 64


class Blocked(StrEnum):
    """What keeps a waiting task from running; the value is what clients read."""

    EXECUTORS = "executors"
    CONCURRENCY = "concurrency"
    DELAY = "delay"
    DEPENDENCIES = "dependencies"
    DRAINING = "draining"
    CPU = "cpu"
    MEMORY = "memory"


class Waiting:
    """All tasks that wait."""

    def __init__(self, aging_step_s: float) -> None:
        self.queue: PriorityQueue[LiveTask] = PriorityQueue(len(Priority), aging_step_s)
        self.dependencies = Dependencies()
        #: Attempts that may run at once, by the functions for which that is limited.
        self.max_concurrency: Mapping[str, int] = {}
        #: By id: tasks of functions that no executor offers.
        self.parked: dict[str, LiveTask] = {}
        self._running: Counter[str] = Counter()  # of those functions
        #: Until when, and who; some of them may have been cancelled meanwhile.
        self.delayed: list[tuple[float, int, LiveTask]] = []
        self._delayed_count = 0
        self._sequence = 0

    def enqueue(self, live: LiveTask, arrived_at: float) -> None:
        """Put a task into the queue, behind those that arrived before."""
        task = live.task
        group = self._group(task)
        live.key = live.place = self.queue.push(live, RANK[task.priority], arrived_at, group)

    def put_back(self, live: LiveTask) -> None:
        """Put a task into the queue where it was last."""
        task = live.task
        live.key = self.queue.put_back(live, RANK[task.priority], live.place, self._group(task))

    def delay(self, live: LiveTask, until: float) -> None:
        """Let a task wait for a time."""
        live.delayed_until = until
        self._delayed_count += 1
        self._sequence += 1
        heapq.heappush(self.delayed, (until, self._sequence, live))

    def park(self, live: LiveTask) -> None:
        """Let a task wait for a worker that offers its function."""
        self.parked[live.task.task_id] = live

    def due(self, now: float) -> None:
        """Put the tasks whose time has come into the queue."""
        while self.delayed and self.delayed[0][0] <= now:
            _, _, live = heapq.heappop(self.delayed)
            if live.delayed_until is not None:  # else it was cancelled meanwhile
                self._delayed_count -= 1
                live.delayed_until = None
                self.enqueue(live, now)

    def leave(self, live: LiveTask) -> None:
        """Let a task, wherever it waits, wait no more."""
        task = live.task
        if live.key is not None:
            self.queue.remove(RANK[task.priority], live.key, self._group(task))
            live.key = None
        elif live.delayed_until is not None:
            live.delayed_until = None
            self._delayed_count -= 1
            self._clear_delayed()
        elif self.parked.pop(task.task_id, None) is None:
            self.dependencies.remove(task.task_id)

    def begin(self, function: str) -> None:
        """An attempt of that function begins: at its limit, if it has one, the others wait."""
        if function not in self.max_concurrency:
            return
        self._running[function] += 1
        if self._running[function] >= self.max_concurrency[function]:
            self.queue.close(function)

    def end(self, function: str) -> None:
        """An attempt of that function has ended: another one may begin."""
        if function not in self.max_concurrency:
            return
        self._running[function] -= 1
        if self._running[function] < self.max_concurrency[function]:
            self.queue.open(function)

    def position(self, live: LiveTask) -> int | None:
        """Return the place of a task in the queue, from 1; None where it is not there."""
        if live.key is None:
            return None
        return self.queue.position(RANK[live.task.priority], live.key)

    def blocked_by(self, live: LiveTask) -> Blocked:
        """Return what keeps a waiting task from running."""
        if live.delayed_until is not None:
            return Blocked.DELAY
        if live.task.task_id in self.dependencies:
            return Blocked.DEPENDENCIES
        if self.queue.is_closed(live.task.function):
            return Blocked.CONCURRENCY
        return Blocked.EXECUTORS

    def _group(self, task: Task) -> str | None:
        """Return what a task is held back by together with others."""
        return task.function if task.function in self.max_concurrency else None

    def _clear_delayed(self) -> None:
        if len(self.delayed) > 2 * self._delayed_count + _FEW:
            self.delayed = [entry for entry in self.delayed if entry[2].delayed_until is not None]
            heapq.heapify(self.delayed)
