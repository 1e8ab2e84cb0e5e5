"""The priority queue: four classes, first in first out within each, bounded waiting across them.

Every item has a static key, `time of arrival + rank x step`, and the smallest key goes first. So an
item of one class lower is overtaken only by those that arrive within `step` seconds after it, and
keys never change while time passes: no re-sorting, and a position that is exact.
"""

import math
from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

T = TypeVar("T")


class PriorityQueue(Generic[T]):
    """Items ordered by class and arrival; `step_s` = 0 means strict classes."""

    def __init__(self, classes: int, step_s: float) -> None:
        self._lanes: list[_Lane[T]] = [_Lane() for _ in range(classes)]
        self._step_s = step_s
        #: How many items wait; read far more often than it changes.
        self.length = 0

    def __len__(self) -> int:
        return self.length

    def lengths(self) -> list[int]:
        """Return how many items wait in each class, most urgent first."""
        return [len(lane) for lane in self._lanes]

    def push(self, item: T, rank: int, arrived_at: float) -> float:
        """Put `item` in its place and return its key, which `remove` and `position` take."""
        self.length += 1
        return self._lanes[rank].insert(arrived_at + rank * self._step_s, item)

    def put_back(self, item: T, rank: int, key: float) -> float:
        """Put an item that was taken out back where it was, and return its key."""
        self.length += 1
        return self._lanes[rank].insert_at(key, item)

    def pop(self) -> T:
        """Take out the first item; raise IndexError when there is none."""
        lane = self._first_lane()
        if lane is None:
            raise IndexError("pop from an empty queue")
        self.length -= 1
        return lane.pop()

    def peek(self) -> T:
        """Return the first item and leave it there; raise IndexError when there is none."""
        lane = self._first_lane()
        if lane is None:
            raise IndexError("peek into an empty queue")
        return lane.first()

    def remove(self, rank: int, key: float) -> T:
        """Take out the item of that class and key; raise KeyError when it is not there."""
        item = self._lanes[rank].remove(key)
        self.length -= 1
        return item

    def position(self, rank: int, key: float) -> int:
        """Return how many items go before the one of that class and key, plus one."""
        ahead = self._lanes[rank].before(key)
        for other, lane in enumerate(self._lanes):
            if other == rank or not lane.keys:
                continue
            if self._step_s == 0:
                ahead += len(lane) if other < rank else 0
            else:  # of equal keys the higher class goes first
                ahead += lane.up_to(key) if other < rank else lane.before(key)
        return ahead + 1

    def _first_lane(self) -> "_Lane[T] | None":
        best: _Lane[T] | None = None
        for lane in self._lanes:  # most urgent first, so it wins among equals
            if not lane.keys:
                continue
            if self._step_s == 0:
                return lane
            if best is None or lane.first_key() < best.first_key():
                best = lane
        return best


class _Lane(Generic[T]):
    """One class: two parallel lists sorted by key, of which the first `_head` entries are gone."""

    __slots__ = ("_asked", "_given", "_head", "_items", "keys")

    def __init__(self) -> None:
        self.keys: list[float] = []  # empty exactly when the lane is
        self._items: list[T] = []
        self._head = 0
        #: The last key that was asked for and not the last of all, and what was given instead.
        self._asked = self._given = -math.inf

    def __len__(self) -> int:
        return len(self.keys) - self._head

    def insert(self, key: float, item: T) -> float:
        keys = self.keys
        if keys and key <= keys[-1]:
            asked = key
            if key == self._asked:  # of one moment: it goes after all others of that moment
                key = math.nextafter(self._given, math.inf)
            self._asked, self._given = asked, self.insert_at(key, item)
            return self._given
        keys.append(key)  # the usual case: it came last
        self._items.append(item)
        return key

    def insert_at(self, key: float, item: T) -> float:
        key, index = self._free_key(key)
        self.keys.insert(index, key)
        self._items.insert(index, item)
        return key

    def _free_key(self, key: float) -> tuple[float, int]:
        """Return the smallest key from `key` on that nobody has, and its place."""
        index = bisect_left(self.keys, key, self._head)
        while index < len(self.keys) and self.keys[index] == key:
            key = math.nextafter(key, math.inf)
            index += 1
        return key, index

    def first_key(self) -> float:
        return self.keys[self._head]

    def first(self) -> T:
        return self._items[self._head]

    def pop(self) -> T:
        return self._take(self._head)

    def remove(self, key: float) -> T:
        index = bisect_left(self.keys, key, self._head)
        if index == len(self.keys) or self.keys[index] != key:
            raise KeyError(key)
        return self._take(index)

    def _take(self, index: int) -> T:
        item = self._items[index]
        if index == self._head:
            self._items[index] = None  # type: ignore[assignment] # lets the item go at once
            self._head += 1
            if self._head * 2 > len(self.keys):
                del self.keys[: self._head], self._items[: self._head]
                self._head = 0
        else:
            del self.keys[index], self._items[index]
            if self._head == len(self.keys):
                self.keys.clear()
                self._items.clear()
                self._head = 0
        return item

    def before(self, key: float) -> int:
        return bisect_left(self.keys, key, self._head) - self._head

    def up_to(self, key: float) -> int:
        return bisect_right(self.keys, key, self._head) - self._head
