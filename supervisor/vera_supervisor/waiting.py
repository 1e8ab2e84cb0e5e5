"""Where tasks wait, each in one place at a time.

    for other tasks ──they end──▶ for a delay ──it passes──▶ in the queue ──▶ (an executor)

Tasks of a function that no executor offers are parked beside all that, for as long as this worker
lives. Pure: `now` is an argument, and what is due is asked for.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from vera_supervisor.dependencies import Dependencies
from vera_supervisor.live_task import LiveTask
from vera_supervisor.priority_queue import PriorityQueue
from vera_supervisor.reservations import Capacity, Reservations
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
    RESERVATION = "reservation"


class Group(NamedTuple):
    """What a task is held back by together with others."""

    #: Its function, if only so many attempts of that may run at once.
    function: str | None
    #: Whether it needs something of the machine to itself.
    reserves: bool
    #: Whether it needs an executor that has never had a task.
    choosy: bool


#: The group of those that nothing but the want of an executor holds back: none.
_ALL: Final = Group(None, reserves=False, choosy=False)


class Outlook(NamedTuple):
    """How a task would wait: its place in the queue, and for what; None: for nothing."""

    position: int | None
    blocked_by: Blocked | None


class Waiting:
    """All tasks that wait."""

    def __init__(self, aging_step_s: float) -> None:
        self.queue: PriorityQueue[LiveTask] = PriorityQueue(len(Priority), aging_step_s)
        self.dependencies = Dependencies()
        #: Attempts that may run at once, by the functions for which that is limited.
        self.max_concurrency: Mapping[str, int] = {}
        #: Functions whose attempts run in an executor each.
        self.alone: Collection[str] = ()
        #: Whether those wait until an executor is there that has never had a task.
        self.unused_awaited = False
        #: Those of which there was a task so far.
        self.groups: set[Group] = set()
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

    def enqueue(self, live: LiveTask, arrived_at: float) -> None:
        """Put a task into the queue, behind those that arrived before."""
        task = live.task
        group = self._group(task)
        live.key = live.place = self.queue.push(live, RANK[task.priority], arrived_at, group)
        if task.requirements is not None:
            self._crowd(crowded=False)  # it may be ahead of the one that does not fit

    def put_back(self, live: LiveTask) -> None:
        """Put a task into the queue where it was last."""
        task = live.task
        live.key = self.queue.put_back(live, RANK[task.priority], live.place, self._group(task))

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
        self._await_unused(awaited=True)

    def unused_has_come(self) -> None:
        """An executor is ready that has never had a task."""
        self._await_unused(awaited=False)

    @property
    def choosy(self) -> int:
        """How many tasks wait for nothing but an unused executor."""
        if not self.unused_awaited:
            return 0
        groups = (group for group in self.groups if group.choosy and not self._held(group))
        return sum(map(self.queue.length_of, groups))

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
            self.queue.remove(RANK[task.priority], live.key, self._group(task))
            live.key = None
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
                self._limit(function)

    def end(self, task: Task) -> None:
        """An attempt of that task has ended: another one may begin."""
        if task.requirements is not None:
            self.reservations.give_back(task.requirements)
            self._crowd(crowded=False)
        function = task.function
        if function in self.max_concurrency:
            self._running[function] -= 1
            if self._running[function] == self.max_concurrency[function] - 1:
                self._limit(function)

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
        position = self.queue.last_position(RANK[task.priority], now)
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

    def _group(self, task: Task) -> Group | None:
        function = task.function if task.function in self.max_concurrency else None
        group = Group(function, task.requirements is not None, task.function in self.alone)
        if group == _ALL:
            return None
        if group not in self.groups:
            self.groups.add(group)
            self._open_or_close(group)
        return group

    def _limit(self, function: str) -> None:
        for group in self.groups:
            if group.function == function:
                self._open_or_close(group)

    def _crowd(self, *, crowded: bool) -> None:
        if crowded != self.crowded:
            self.crowded = crowded
            for group in self.groups:
                self._open_or_close(group)

    def _await_unused(self, *, awaited: bool) -> None:
        if awaited != self.unused_awaited:
            self.unused_awaited = awaited
            for group in self.groups:
                self._open_or_close(group)

    def _open_or_close(self, group: Group) -> None:
        if self._held(group) or (group.choosy and self.unused_awaited):
            self.queue.close(group)
        else:
            self.queue.open(group)

    def _held(self, group: Group) -> bool:
        """Return whether more executors would not help those of that group."""
        if group.function is not None and self.at_limit(group.function):
            return True
        return group.reserves and self.crowded

    def _clear_delayed(self) -> None:
        if len(self.delayed) > 2 * self._delayed_count + _FEW:
            self.delayed = [entry for entry in self.delayed if entry[2].delayed_until is not None]
            heapq.heapify(self.delayed)
