"""Where tasks wait, each in one place at a time.

    for other tasks ──they end──▶ for a delay ──it passes──▶ in the line of a pool ──▶ (an executor)

Tasks of a function that no executor offers keep their places; they go on once one offers it. Pure:
`now` is an argument, and what is due is asked for.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from vera_supervisor.scheduling.dependencies import Dependencies
from vera_supervisor.scheduling.habits import Habits
from vera_supervisor.scheduling.line import Group, Line
from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.reservations import Capacity, Reservations
from vera_worker.tasks import DEFAULT_POOL, RANK, Task

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
    #: No task module offers its function any more.
    UNKNOWN_FUNCTION = "unknown_function"


class Rules(NamedTuple):
    """What is known of functions that tasks have to wait for."""

    #: Attempts that may run at once, by the functions for which that is limited.
    max_concurrency: Mapping[str, int] = {}
    #: Functions whose attempts run in an executor each.
    alone: Collection[str] = ()
    #: Those that executors offer; None while that is not known.
    functions: Collection[str] | None = None
    #: The pool of those that do not run in the default one.
    routes: Mapping[str, str] = {}


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
    ) -> None:
        #: By pool: where its tasks wait for an executor.
        self.lines = {pool: Line(pool, aging_step_s, self._held) for pool in pools}
        self._routes: dict[str, Line] = {}
        self._default = self.lines[DEFAULT_POOL]
        self.dependencies = Dependencies()
        #: Attempts that may run at once, by the functions for which that is limited.
        self.max_concurrency: Mapping[str, int] = {}
        self._alone: Collection[str] = ()
        self._functions: Collection[str] | None = None
        #: By id: tasks that ran when the worker was lost, of functions that no executor offers.
        self.parked: dict[str, LiveTask] = {}
        self._running: Counter[str] = Counter()  # of those functions
        self.reservations = Reservations()
        #: What to reserve for those that say nothing.
        self.habits = Habits()
        #: Whether the first of those that reserve does not fit: the others do not go past it.
        self.crowded = False
        #: By id: tasks that need more than there is; there was more when they came.
        self.oversized: dict[str, LiveTask] = {}
        #: Until when, and who; some of them may have been cancelled meanwhile.
        self.delayed: list[tuple[float, int, LiveTask]] = []
        self._delayed_count = 0
        self._sequence = 0

    def obey(self, rules: Rules, live: Iterable[LiveTask]) -> None:
        """Go by `rules` from now on; `live` are all tasks that have not ended."""
        before = Rules(self.max_concurrency, self._alone, self._functions, self._route_names())
        moved: list[LiveTask] = []
        if rules != before:
            moved = [task for task in live if task.key is not None]
            for task in moved:
                self.line_of(task.task.function).remove(task, self._group(task))
        self.max_concurrency, self._alone, self._functions, routes = rules
        self._routes = {function: self.lines[pool] for function, pool in routes.items()}
        running = (task.task.function for task in live if task.slot_id is not None)
        self._running = Counter(name for name in running if name in self.max_concurrency)
        for task in moved:
            self.put_back(task)
        for line in self.lines.values():
            line.review()

    def _route_names(self) -> dict[str, str]:
        return {function: line.pool for function, line in self._routes.items()}

    def line_of(self, function: str) -> Line:
        """Return the line of the pool that runs that function."""
        return self._routes.get(function, self._default)

    def enqueue(self, live: LiveTask, arrived_at: float) -> None:
        """Put a task into the queue, behind those that arrived before."""
        task = live.task
        live.need = task.requirements or self.habits.guess(task.function)
        self.line_of(task.function).push(live, arrived_at, self._group(live))
        if live.need is not None:
            self._crowd(crowded=False)  # it may be ahead of the one that does not fit

    def put_back(self, live: LiveTask) -> None:
        """Put a task into the queue where it was last."""
        self.line_of(live.task.function).put_back(live, self._group(live))

    def hold_back(self, live: LiveTask) -> None:
        """Take in a task that does not fit; those that also reserve wait behind it.

        If smaller ones could go past it, it might wait for ever.
        """
        task = live.task
        assert live.need is not None, live
        if not self.reservations.impossible(live.need):
            self.put_back(live)
            self._crowd(crowded=True)
        elif task.requirements is not None:
            self.oversized[task.task_id] = live  # nobody need wait for that
        else:
            live.need = None  # there was more when it was guessed
            self.put_back(live)

    def await_unused(self, live: LiveTask) -> None:
        """Take in a task that needs an unused executor, and have all like it wait for one."""
        self.put_back(live)
        self.line_of(live.task.function).await_unused()

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
        """Keep a task that ran when the worker was lost until its function is known."""
        self.parked[live.task.task_id] = live

    def unpark(self) -> list[LiveTask]:
        """Return the parked tasks whose function is known by now, and forget them."""
        found = [live for live in self.parked.values() if not self.is_unknown(live.task.function)]
        for live in found:
            del self.parked[live.task.task_id]
        return found

    def is_unknown(self, function: str) -> bool:
        """Return whether no executor offers that function."""
        return self._functions is not None and function not in self._functions

    def unknown(self) -> Counter[str]:
        """Return how many tasks wait for a function that no executor offers, by its name."""
        found = Counter(live.task.function for live in self.parked.values())
        for line in self.lines.values():
            for group in line.groups:
                if group.function is not None and self.is_unknown(group.function):
                    found[group.function] += line.queue.length_of(group)
        return +found

    def due(self, now: float) -> None:
        """Put the tasks whose time has come into the queue."""
        while self.delayed and self.delayed[0][0] <= now:
            _, _, live = heapq.heappop(self.delayed)
            if live.delayed_until is not None:  # else it was cancelled meanwhile
                self._delayed_count -= 1
                live.delayed_until = None
                self.enqueue(live, now)

    def leave(self, live: LiveTask) -> None:
        """Take a task out, wherever it waits."""
        task = live.task
        if live.key is not None:
            self.line_of(task.function).remove(live, self._group(live))
            if live.need is not None:
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

    def begin(self, live: LiveTask) -> None:
        """An attempt of that task begins: those that it leaves no room for wait."""
        if live.need is not None:
            self.reservations.take(live.need)
        function = live.task.function
        if live.task.client is not None:
            self.line_of(function).begin(live.task.client)
        if function in self.max_concurrency:
            self._running[function] += 1
            if self._running[function] == self.max_concurrency[function]:
                self.line_of(function).review(function)

    def end(self, live: LiveTask) -> None:
        """An attempt of that task has ended: another one may begin."""
        if live.need is not None:
            self.reservations.give_back(live.need)
            self._crowd(crowded=False)
        function = live.task.function
        if live.task.client is not None:
            self.line_of(function).end(live.task.client)
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
        task = live.task
        if live.delayed_until is not None:
            return Blocked.DELAY
        if task.task_id in self.dependencies:
            return Blocked.DEPENDENCIES
        if self.is_unknown(task.function):
            return Blocked.UNKNOWN_FUNCTION
        if self.at_limit(task.function):
            return Blocked.CONCURRENCY
        if task.task_id in self.oversized or (live.need is not None and self.crowded):
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
        need = task.requirements or self.habits.guess(task.function)
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

    def _group(self, live: LiveTask) -> Group | None:
        """Return what may hold a task back beside the want of an executor; None: nothing."""
        function, reserves = live.task.function, live.need is not None
        limited = function in self.max_concurrency or self.is_unknown(function)
        choosy = function in self._alone
        client = live.task.client
        if not (limited or reserves or choosy or client):
            return None
        rank = RANK[live.task.priority] if client else 0
        return Group(function if limited else None, reserves, choosy, client, rank)

    def _crowd(self, *, crowded: bool) -> None:
        if crowded != self.crowded:
            self.crowded = crowded
            for line in self.lines.values():
                line.review()

    def _held(self, group: Group) -> bool:
        """Return whether more executors would not help those of that group."""
        function = group.function
        if function is not None and (self.at_limit(function) or self.is_unknown(function)):
            return True
        return group.reserves and self.crowded

    def _clear_delayed(self) -> None:
        if len(self.delayed) > 2 * self._delayed_count + _FEW:
            self.delayed = [entry for entry in self.delayed if entry[2].delayed_until is not None]
            heapq.heapify(self.delayed)
