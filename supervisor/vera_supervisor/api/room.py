"""How many connections there may be, in all and of one peer, and which make room for others."""

from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

Guest = TypeVar("Guest")


class Room(Generic[Guest]):
    """Counts connections by peer, and knows which of them rest: those can be hung up on."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.most = most
        #: A tenth is kept for those who have none yet.
        self.most_of_one = min(most_of_one, most - most // 10)
        self._guests: Counter[str] = Counter()
        self._all = 0
        #: By peer, since when each rests; the longest comes first.
        self._resting: dict[str, dict[Guest, float]] = {}

    def __len__(self) -> int:
        return self._all

    def has_place(self, peer: str) -> bool:
        """Return whether one more of that peer may come in."""
        return self._all < self.most and self._guests[peer] < self.most_of_one

    def enter(self, peer: str) -> None:
        """Count one more of a peer."""
        self._guests[peer] += 1
        self._all += 1

    def leave(self, peer: str) -> None:
        """Count one less of a peer."""
        self._all -= 1
        self._guests[peer] -= 1
        if not self._guests[peer]:
            del self._guests[peer]

    def rest(self, guest: Guest, peer: str, now: float) -> None:
        """Note that nothing is under way on that connection, from now on."""
        resting = self._resting.setdefault(peer, {})
        resting.pop(guest, None)  # it goes to the end
        resting[guest] = now

    def work(self, guest: Guest, peer: str) -> None:
        """Note that a request is under way on that connection, or that it is gone."""
        resting = self._resting.get(peer, {})
        if resting.pop(guest, None) is not None and not resting:
            del self._resting[peer]

    def dispensable(self, peer: str) -> Guest | None:
        """Return whom to hang up on so that one more of a peer can come in; None: nobody.

        It is one of its own where that peer has its share, else one of the peer that has most.
        """
        if self._guests[peer] < self.most_of_one and self._resting:
            peer = max(self._resting, key=self._guests.__getitem__)
        return next(iter(self._resting.get(peer, ())), None)

    def resting_since(self, before: float) -> Iterator[Guest]:
        """Yield those that have rested since then or longer."""
        for resting in list(self._resting.values()):
            for guest, since in list(resting.items()):
                if since > before:
                    break
                yield guest

    def resting(self) -> list[Guest]:
        """Return all idle connections."""
        return [guest for resting in self._resting.values() for guest in resting]
