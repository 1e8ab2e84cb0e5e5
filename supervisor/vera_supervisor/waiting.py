"""Where tasks wait, each in one place at a time.

    for other tasks ──they end──▶ for a delay ──it passes──▶ in the line of a pool ──▶ (an executor)

Tasks of a function that no executor offers are parked beside all that, for as long as this worker
lives. Pure: `now` is an argument, and what is due is asked for.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from vera_supervisor.dependencies import Dependencies
from vera_supervisor.line import Group, Line
from vera_supervisor.live_task import LiveTask
from vera_supervisor.reservations import Capacity, Reservations
from vera_worker.tasks import DEFAULT_POOL, RANK, Task

#: So many cancelled tasks among the delayed ones are not worth clearing away.
_FEW: Final = 64
_NO_ROUTES: Final[Mapping[str, str]] = {}


class Blocked(StrEnum):
    """What keeps a waiting task from running; the value is what clients read."""

    EXECUTORS = "executors"
    CONCURRENCY = "concurrency"
    DELAY = "delay"
    DEPENDENCIES = "dependencies"
    DRAINING = "draining"
    CPU = "cpu"
    MEMORY = "memory"
    RESERVATION = "reservation"


class Outlook(NamedTuple):
    """How a task would wait: its place in the queue, and for what; None: for nothing."""

    position: int | None
    blocked_by: Blocked | None


class Waiting:
    """All tasks that wait."""

    def __init__(
        self,
        aging_step_s: float,
        pools: Collection[str] = (DEFAULT_POOL,),
        routes: Mapping[str, str] = _NO_ROUTES,
    ) -> None:
        #: By pool: where its tasks wait for an executor.
        self.lines = {pool: Line(pool, aging_step_s, self._held) for pool in pools}
        self._routes = {function: self.lines[pool] for function, pool in routes.items()}
        self._default = self.lines[DEFAULT_POOL]
        self.dependencies = Dependencies()
        #: Attempts that may run at once, by the functions for which that is limited.
        self.max_concurrency: Mapping[str, int] = {}
        #: Functions whose attempts run in an executor each.
        self.alone: Collection[str] = ()
        #: By id: tasks of functions that no executor offers.
        self.parked: dict[str, LiveTask] = {}
        self._running: Counter[str] = Counter()  # of those functions
        self.reservations = Reservations()
        #: Whether the first of those that reserve does not fit: the others do not go past it.
        self.crowded = False
        #: By id: tasks that need more than there is, since that became less.
        self.oversized: dict[str, LiveTask] = {}
        #: Until when, and who; some of them may have been cancelled meanwhile.
        self.delayed: list[tuple[float, int, LiveTask]] = []
        self._delayed_count = 0
        self._sequence = 0

    def line_of(self, function: str) -> Line:
        """Return the line of the pool that runs that function."""
        return self._routes.get(function, self._default)

    def enqueue(self, live: LiveTask, arrived_at: float) -> None:
        """Put a task into the queue, behind those that arrived before."""
        task = live.task
        self.line_of(task.function).push(live, arrived_at, self._group(task))
        if task.requirements is not None:
            self._crowd(crowded=False)  # it may be ahead of the one that does not fit

    def put_back(self, live: LiveTask) -> None:
        """Put a task into the queue where it was last."""
        self.line_of(live.task.function).put_back(live, self._group(live.task))

    def hold_back(self, live: LiveTask) -> None:
        """Take in a task that does not fit; those that also reserve wait behind it.

        Would smaller ones go past it, it might wait for ever.
        """
        task = live.task
        assert task.requirements is not None, live
        if self.reservations.impossible(task.requirements):
            self.oversized[task.task_id] = live  # nobody need wait for that
            return
        self.put_back(live)
        self._crowd(crowded=True)

    def await_unused(self, live: LiveTask) -> None:
        """Take in a task that needs an unused executor, and have all like it wait for one."""
        self.put_back(live)
        self.line_of(live.task.function).await_unused(awaited=True)

    def offer(self, capacity: Capacity) -> None:
        """Let tasks reserve so much from now on."""
        if capacity != self.reservations.capacity:
            self.reservations.capacity = capacity
            self._crowd(crowded=False)
            oversized, self.oversized = self.oversized, {}
            for live in oversized.values():
                self.put_back(live)

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
            self.line_of(task.function).remove(live, self._group(task))
            if task.requirements is not None:
                self._crowd(crowded=False)
        elif live.delayed_until is not None:
            live.delayed_until = None
            self._delayed_count -= 1
            self._clear_delayed()
        elif task.task_id in self.parked:
            del self.parked[task.task_id]
        elif task.task_id in self.oversized:
            del self.oversized[task.task_id]
        else:
            self.dependencies.remove(task.task_id)

    def begin(self, task: Task) -> None:
        """An attempt of that task begins: those that it leaves no room for wait."""
        if task.requirements is not None:
            self.reservations.take(task.requirements)
        function = task.function
        if function in self.max_concurrency:
            self._running[function] += 1
            if self._running[function] == self.max_concurrency[function]:
                self.line_of(function).review(function)

    def end(self, task: Task) -> None:
        """An attempt of that task has ended: another one may begin."""
        if task.requirements is not None:
            self.reservations.give_back(task.requirements)
            self._crowd(crowded=False)
        function = task.function
        if function in self.max_concurrency:
            self._running[function] -= 1
            if self._running[function] == self.max_concurrency[function] - 1:
                self.line_of(function).review(function)

    def position(self, live: LiveTask) -> int | None:
        """Return the place of a task in the line of its pool, from 1; None where it is in none."""
        if live.key is None:
            return None
        task = live.task
        return self.line_of(task.function).queue.position(RANK[task.priority], live.key)

    def blocked_by(self, live: LiveTask) -> Blocked:
        """Return what keeps a waiting task from running."""
        if live.delayed_until is not None:
            return Blocked.DELAY
        if live.task.task_id in self.dependencies:
            return Blocked.DEPENDENCIES
        if live.task.task_id in self.oversized:
            return Blocked.RESERVATION
        if self.at_limit(live.task.function):
            return Blocked.CONCURRENCY
        if live.task.requirements is not None and self.crowded:
            return Blocked.RESERVATION
        return Blocked.EXECUTORS

    def outlook(self, task: Task, now: float, *, delayed: bool) -> Outlook:
        """Return how a task would wait that is accepted now; with EXECUTORS where one is needed."""
        if task.depends_on:
            return Outlook(None, Blocked.DEPENDENCIES)
        if delayed:
            return Outlook(None, Blocked.DELAY)
        queue = self.line_of(task.function).queue
        position = queue.last_position(RANK[task.priority], now)
        if self.at_limit(task.function):
            return Outlook(position, Blocked.CONCURRENCY)
        need = task.requirements
        if need is not None and (self.crowded or not self.reservations.fits(need)):
            return Outlook(position, Blocked.RESERVATION)
        return Outlook(position, Blocked.EXECUTORS)

    def at_limit(self, function: str) -> bool:
        """Return whether as many attempts of that function run as may run at once."""
        most = self.max_concurrency.get(function)
        return most is not None and self._running[function] >= most

    def lengths(self) -> list[int]:
        """Return how many tasks wait for an executor in each class, most urgent first."""
        lengths = (line.queue.lengths() for line in self.lines.values())
        return [sum(of_class) for of_class in zip(*lengths, strict=True)]

    def _group(self, task: Task) -> Group | None:
        """Return what may hold a task back beside the want of an executor; None: nothing."""
        function, reserves = task.function, task.requirements is not None
        limited, choosy = function in self.max_concurrency, function in self.alone
        if not (limited or reserves or choosy):
            return None
        return Group(function if limited else None, reserves, choosy)

    def _crowd(self, *, crowded: bool) -> None:
        if crowded != self.crowded:
            self.crowded = crowded
            for line in self.lines.values():
                line.review()

    def _held(self, group: Group) -> bool:
        """Return whether more executors would not help those of that group."""
        if group.function is not None and self.at_limit(group.function):
            return True
        return group.reserves and self.crowded

    def _clear_delayed(self) -> None:
        if len(self.delayed) > 2 * self._delayed_count + _FEW:
            self.delayed = [entry for entry in self.delayed if entry[2].delayed_until is not None]
            heapq.heapify(self.delayed)
