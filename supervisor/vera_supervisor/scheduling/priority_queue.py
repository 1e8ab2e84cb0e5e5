"""The priority queue: four classes, first in first out within each, bounded waiting across them.

Every item has a static key, `time of arrival + rank x step`, and the smallest key goes first. So an
item of one class lower is overtaken only by those that arrive within `step` seconds after it, and
keys never change while time passes: no re-sorting, and a position that is exact.

Items may belong to a group. A group can be closed: its items keep their places and their positions,
and `pop` passes them over. So nobody waits behind one who may not go, and nobody is moved about.
The cost of a pop grows with the number of groups, not with that of the items passed over.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class PriorityQueue(Generic[T]):
    """Items ordered by class and arrival; `step_s` = 0 means strict classes."""

    def __init__(self, classes: int, step_s: float) -> None:
        self._step_s = step_s
        self._ungrouped: _Line[T] = _Line(classes)
        self._groups: dict[Hashable, _Line[T]] = {}
        #: Those whose items may go.
        self._open = [self._ungrouped]
        #: The largest key of each class so far.
        self._newest = [-math.inf] * classes
        #: For each class, the last key asked for that was not the largest, and what was given.
        self._asked = [-math.inf] * classes
        self._given = [-math.inf] * classes
        #: How many items wait, and how many of them may go; read far more often than they change.
        self.length = 0
        self.ready = 0

    def __len__(self) -> int:
        return self.length

    def lengths(self) -> list[int]:
        """Return how many items wait in each class, most urgent first."""
        lines = (self._ungrouped, *self._groups.values())
        return [sum(map(len, lanes)) for lanes in zip(*(line.lanes for line in lines), strict=True)]

    def push(self, item: T, rank: int, arrived_at: float, group: Hashable | None = None) -> float:
        """Put `item` in its place and return its key, which `remove` and `position` take."""
        key = arrived_at + rank * self._step_s
        if key > self._newest[rank]:  # the usual case: it came last
            self._newest[rank] = key
            self._lane(rank, group).append(key, item)
            return key
        asked = key
        if key == self._asked[rank]:  # of one moment: it goes after all others of that moment
            key = math.nextafter(self._given[rank], math.inf)
        self._asked[rank], self._given[rank] = asked, self.put_back(item, rank, key, group)
        return self._given[rank]

    def put_back(self, item: T, rank: int, key: float, group: Hashable | None = None) -> float:
        """Put an item that was taken out back where it was, and return its key."""
        while self._taken(rank, key):
            key = math.nextafter(key, math.inf)
        self._newest[rank] = max(self._newest[rank], key)
        self._lane(rank, group).insert(key, item)
        return key

    def pop(self) -> T:
        """Take out the first item that may go; raise IndexError when there is none."""
        line = self._first_line()
        line.length -= 1
        self.length -= 1
        self.ready -= 1
        rank = line.used[0] if len(line.used) == 1 else line.first(self._step_s)
        return line.take(rank, line.lanes[rank].head)

    def head(self) -> tuple[float, float]:
        """Return what the first that may go is compared by with those of other queues."""
        return self._first_line().head(self._step_s)

    def oldest(self) -> float:
        """Return when the one arrived that has waited longest of those that may go; or infinity."""
        oldest = math.inf
        for line in self._open:
            for rank, lane in enumerate(line.lanes):
                if lane.keys:
                    oldest = min(oldest, lane.first_key() - rank * self._step_s)
        return oldest

    def remove(self, rank: int, key: float, group: Hashable | None = None) -> T:
        """Take out the item of that class and key; raise KeyError when it is not there."""
        line = self._ungrouped if group is None else self._line(group)
        item = line.take(rank, line.lanes[rank].index(key))
        line.length -= 1
        self.length -= 1
        if not line.closed:
            self.ready -= 1
        return item

    def position(self, rank: int, key: float) -> int:
        """Return how many items go before the one of that class and key, plus one."""
        ahead = self._ungrouped.ahead(rank, key, self._step_s)
        if self._groups:
            ahead += sum(line.ahead(rank, key, self._step_s) for line in self._groups.values())
        return ahead + 1

    def last_position(self, rank: int, arrived_at: float) -> int:
        """Return the position that an item would get that arrives now."""
        return self.position(rank, arrived_at + rank * self._step_s)

    def close(self, group: Hashable) -> None:
        """Let no item of that group go until it is opened."""
        line = self._line(group)
        if not line.closed:
            line.closed = True
            self._open.remove(line)
            self.ready -= line.length

    def open(self, group: Hashable) -> None:
        """Let the items of that group go again."""
        line = self._line(group)
        if line.closed:
            line.closed = False
            self._open.append(line)
            self.ready += line.length

    def length_of(self, group: Hashable) -> int:
        """Return how many items of that group wait."""
        line = self._groups.get(group)
        return 0 if line is None else line.length

    def is_closed(self, group: Hashable) -> bool:
        """Return whether the items of that group may not go."""
        line = self._groups.get(group)
        return line is not None and line.closed

    def _lane(self, rank: int, group: Hashable | None) -> "_Lane[T]":
        """Count one item more; return where it is to be put."""
        line = self._ungrouped if group is None else self._line(group)
        line.length += 1
        self.length += 1
        if not line.closed:
            self.ready += 1
        lane = line.lanes[rank]
        if not lane.keys:
            insort(line.used, rank)
        return lane

    def _line(self, group: Hashable) -> "_Line[T]":
        line = self._groups.get(group)
        if line is None:
            line = self._groups[group] = _Line(len(self._newest))
            self._open.append(line)
        return line

    def _taken(self, rank: int, key: float) -> bool:
        lines = (self._ungrouped, *self._groups.values())
        return any(line.lanes[rank].has(key) for line in lines)

    def _first_line(self) -> "_Line[T]":
        if not self.ready:
            raise IndexError("an empty queue, or a closed one, has no first item")
        if self._ungrouped.length == self.ready:
            return self._ungrouped
        step_s = self._step_s
        return min((line for line in self._open if line.length), key=lambda line: line.head(step_s))


class _Line(Generic[T]):
    """The items of one group: a lane for each class."""

    __slots__ = ("closed", "lanes", "length", "used")

    def __init__(self, classes: int) -> None:
        self.lanes: list[_Lane[T]] = [_Lane() for _ in range(classes)]
        #: The classes of which there are items, most urgent first; most of the time it is one.
        self.used: list[int] = []
        self.length = 0
        self.closed = False

    def take(self, rank: int, index: int) -> T:
        """Take an item out of the lane of a class."""
        lane = self.lanes[rank]
        item = lane.take(index)
        if not lane.keys:
            self.used.remove(rank)
        return item

    def first(self, step_s: float) -> int:
        """Return the class of the first item; there must be one."""
        if len(self.used) == 1 or step_s == 0:
            return self.used[0]
        return min(self.used, key=lambda rank: self.lanes[rank].first_key())

    def head(self, step_s: float) -> tuple[float, float]:
        """Return what the first item is compared by with those of other lines."""
        rank = self.first(step_s)
        key = self.lanes[rank].first_key()
        return (rank, key) if step_s == 0 else (key, rank)

    def ahead(self, rank: int, key: float, step_s: float) -> int:
        """Return how many items go before one of that class and key."""
        ahead = 0
        for other in self.used:
            lane = self.lanes[other]
            if other == rank:
                ahead += bisect_left(lane.keys, key, lane.head) - lane.head
            elif step_s == 0:
                ahead += len(lane) if other < rank else 0
            else:  # of equal keys the higher class goes first
                place = bisect_right if other < rank else bisect_left
                ahead += place(lane.keys, key, lane.head) - lane.head
        return ahead


class _Lane(Generic[T]):
    """One class: two parallel lists sorted by key, of which the first `head` entries are gone."""

    __slots__ = ("_items", "head", "keys")

    def __init__(self) -> None:
        self.keys: list[float] = []  # empty exactly when the lane is
        self._items: list[T] = []
        self.head = 0

    def __len__(self) -> int:
        return len(self.keys) - self.head

    def append(self, key: float, item: T) -> None:
        self.keys.append(key)
        self._items.append(item)

    def insert(self, key: float, item: T) -> None:
        index = bisect_left(self.keys, key, self.head)
        self.keys.insert(index, key)
        self._items.insert(index, item)

    def has(self, key: float) -> bool:
        index = bisect_left(self.keys, key, self.head)
        return index < len(self.keys) and self.keys[index] == key

    def first_key(self) -> float:
        return self.keys[self.head]

    def index(self, key: float) -> int:
        index = bisect_left(self.keys, key, self.head)
        if index == len(self.keys) or self.keys[index] != key:
            raise KeyError(key)
        return index

    def take(self, index: int) -> T:
        item = self._items[index]
        if index == self.head:
            self._items[index] = None  # type: ignore[assignment] # lets the item go at once
            self.head += 1
            if self.head * 2 > len(self.keys):
                del self.keys[: self.head], self._items[: self.head]
                self.head = 0
        else:
            del self.keys[index], self._items[index]
            if self.head == len(self.keys):
                self.keys.clear()
                self._items.clear()
                self.head = 0
        return item
