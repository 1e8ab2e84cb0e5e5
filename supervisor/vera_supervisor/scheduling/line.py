"""The line of one pool: its tasks that wait for nothing but an executor, and who lets others by.

Tasks that can be held back by the same thing form a group. While they are, the group is closed: its
tasks keep their places, and others go past them. Pure.
"""

from collections.abc import Callable
from typing import NamedTuple

from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.priority_queue import PriorityQueue
from vera_supervisor.scheduling.turns import Turns
from vera_worker.tasks import RANK, Priority


class Group(NamedTuple):
    """What a task is held back by together with others."""

    #: Its function, if only so many attempts of that may run at once.
    function: str | None
    #: Whether it needs something of the machine to itself.
    reserves: bool
    #: Whether it needs an executor that has never had a task.
    choosy: bool
    #: Who sent it, where that is known, and then its class: in each, clients take turns.
    client: str | None = None
    rank: int = 0


class Line:
    """The tasks before one pool; `is_held` says of a group that more executors would not help."""

    def __init__(self, pool: str, aging_step_s: float, is_held: Callable[[Group], bool]) -> None:
        self.pool = pool
        self.queue: PriorityQueue[LiveTask] = PriorityQueue(len(Priority), aging_step_s)
        #: All that have had a task so far.
        self.groups: set[Group] = set()
        #: Whether the choosy ones wait until an executor is there that has never had a task.
        self.unused_awaited = False
        self._is_held = is_held
        self._turns = Turns()
        #: Who has sent tasks so far, and whose turn it is in each class; with one client, nobody's.
        self._clients: set[str] = set()
        self._turn: dict[int, str | None] = {}

    def push(self, live: LiveTask, arrived_at: float, group: Group | None) -> None:
        """Put a task behind those that arrived before; most are of no group."""
        rank = RANK[live.task.priority]
        live.key = live.place = self.queue.push(live, rank, arrived_at, self._known(group))
        self.take_turns()

    def put_back(self, live: LiveTask, group: Group | None) -> None:
        """Put a task where it was last."""
        rank = RANK[live.task.priority]
        live.key = self.queue.put_back(live, rank, live.place, self._known(group))
        self.take_turns()

    def remove(self, live: LiveTask, group: Group | None) -> None:
        """Take a task out, wherever in the line it is."""
        assert live.key is not None, live
        self.queue.remove(RANK[live.task.priority], live.key, self._known(group))
        live.key = None
        self.take_turns()

    def begin(self, client: str) -> None:
        """An attempt of a task of that client begins."""
        self._turns.begin(client)
        self.take_turns()

    def end(self, client: str) -> None:
        """That attempt has ended."""
        self._turns.end(client)
        self.take_turns()

    def take_turns(self) -> None:
        """See whose turn it is now in each class, and let only those go; if there are several."""
        if len(self._clients) > 1:
            self.review()

    def await_unused(self) -> None:
        """Have the choosy ones wait until an unused executor has come."""
        if not self.unused_awaited:
            self.unused_awaited = True
            self.review()

    def unused_came(self) -> None:
        """An unused executor has come: the choosy ones need not wait for one any more."""
        if self.unused_awaited:
            self.unused_awaited = False
            self.review()

    @property
    def choosy(self) -> int:
        """How many tasks wait for nothing but an unused executor."""
        if not self.unused_awaited:
            return 0
        groups = (group for group in self.groups if group.choosy and not self._is_held(group))
        return sum(map(self.queue.length_of, groups))

    def review(self, function: str | None = None) -> None:
        """Close and open groups, as things stand now: all, or those of one function."""
        if len(self._clients) > 1:
            self._find_turns()
            function = None
        for group in self.groups:
            if function is None or group.function == function:
                self._open_or_close(group)

    def _find_turns(self) -> None:
        waiting: dict[int, set[str]] = {}
        for group in self.groups:
            if group.client is None or self._is_shut(group):
                continue
            if self.queue.length_of(group):
                waiting.setdefault(group.rank, set()).add(group.client)
        self._turn = {rank: self._turns.next(clients) for rank, clients in waiting.items()}

    def _known(self, group: Group | None) -> Group | None:
        if group is not None and group not in self.groups:
            self.groups.add(group)
            if group.client is not None:
                self._clients.add(group.client)
            self._open_or_close(group)
        return group

    def _open_or_close(self, group: Group) -> None:
        turn = None if group.client is None else self._turn.get(group.rank)
        if self._is_shut(group) or (turn is not None and turn != group.client):
            self.queue.close(group)
        else:
            self.queue.open(group)

    def _is_shut(self, group: Group) -> bool:
        return self._is_held(group) or (group.choosy and self.unused_awaited)
