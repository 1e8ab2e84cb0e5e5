"""There is a place for a newcomer, whoever holds the others."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vera_supervisor.api.room import Room

PEERS = st.sampled_from("abc")


class Crowd(RuleBasedStateMachine):
    """Guests come, work, rest and go in any order; a plain list knows as well who there is."""

    def __init__(self) -> None:
        super().__init__()
        self.room: Room[int] = Room(10, 6)
        self.peer_of: dict[int, str] = {}
        self.resting: dict[int, float] = {}
        self.now = 0.0
        self.last = 0

    def those_of(self, peer: str) -> list[int]:
        return [guest for guest, whose in self.peer_of.items() if whose == peer]

    def gone(self, guest: int) -> None:
        peer = self.peer_of.pop(guest)
        self.resting.pop(guest, None)
        self.room.work(guest, peer)
        self.room.leave(peer)

    @rule(peer=PEERS)
    def come(self, peer: str) -> None:
        free = len(self.peer_of) < 10 and len(self.those_of(peer)) < 6
        assert self.room.has_place(peer) is free
        if not free:
            guest = self.room.dispensable(peer)
            own = len(self.those_of(peer)) >= 6
            mine = [one for one in self.resting if self.peer_of[one] == peer]
            if guest is None:
                assert not (mine if own else self.resting)
                return
            whose = self.peer_of[guest]
            most = max(len(self.those_of(self.peer_of[one])) for one in self.resting)
            assert whose == peer if own else len(self.those_of(whose)) == most
            assert self.resting[guest] == min(
                since for one, since in self.resting.items() if self.peer_of[one] == whose
            )
            self.gone(guest)
        self.last += 1
        self.peer_of[self.last] = peer
        self.room.enter(peer)
        self.rest(self.last)

    def rest(self, guest: int) -> None:
        self.now += 1
        self.resting[guest] = self.now
        self.room.rest(guest, self.peer_of[guest], self.now)

    @precondition(lambda self: self.peer_of)
    @rule(data=st.data(), what=st.sampled_from(["work", "rest", "go"]))
    def change(self, data: st.DataObject, what: str) -> None:
        guest = data.draw(st.sampled_from(sorted(self.peer_of)))
        if what == "work":
            self.room.work(guest, self.peer_of[guest])
            self.resting.pop(guest, None)
        elif what == "rest":
            self.rest(guest)
        else:
            self.gone(guest)

    @rule(ago=st.integers(0, 9))
    def reap(self, ago: int) -> None:
        before = self.now - ago
        found = set(self.room.resting_since(before))
        assert found == {guest for guest, since in self.resting.items() if since <= before}

    @invariant()
    def all_are_counted(self) -> None:
        assert len(self.room) == len(self.peer_of)
        assert set(self.room.resting()) == set(self.resting)


TestCrowd = Crowd.TestCase


def test_one_peer_never_has_all_places() -> None:
    assert Room[int](100, 100).most_of_one == 90
    assert Room[int](100, 30).most_of_one == 30
