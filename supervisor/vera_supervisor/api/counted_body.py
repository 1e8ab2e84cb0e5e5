"""Large bodies are accepted only while there is room for them, whoever sends them and how slowly.

Those that go out have such a room of their own: see paced_body.
"""

from collections import Counter
from typing import Final

from quart.wrappers.request import Body

from vera_supervisor.api.problems import Problem

#: Smaller ones are not counted: the number of connections bounds them.
SMALL_BYTES: Final = 64 * 1024


class BodyRoom:
    """Bytes of large bodies that are on their way, all in one direction."""

    def __init__(self, most: int) -> None:
        self.most = most
        #: A tenth is kept for those who have nothing on its way yet.
        self.most_of_one = most - most // 10
        self.taken = 0
        self.taken_by: Counter[str] = Counter()

    def of(self, client: str) -> "Share":
        """Return what one client may have of it."""
        return Share(self, client)


class Share:
    """What one client may have of a room."""

    def __init__(self, room: BodyRoom, client: str) -> None:
        self._room = room
        self._client = client

    @property
    def full(self) -> bool:
        """Whether there is no room for anything large of this client."""
        room = self._room
        return room.taken >= room.most or room.taken_by[self._client] >= room.most_of_one

    def take(self, size: int) -> bool:
        """Return whether there is room for so many more; one body always has it."""
        room = self._room
        mine = room.taken_by[self._client]
        if room.taken and room.taken + size > room.most:
            return False
        if mine and mine + size > room.most_of_one:
            return False
        self.overdraw(size)
        return True

    def overdraw(self, size: int) -> None:
        """Count so many more, whether there is room or not."""
        self._room.taken += size
        self._room.taken_by[self._client] += size

    def give_back(self, size: int) -> None:
        """Have that room again."""
        self._room.taken -= size
        self._room.taken_by[self._client] -= size
        if not self._room.taken_by[self._client]:
            del self._room.taken_by[self._client]


class CountedBody(Body):
    """A body that has its room until it was read, or nobody wants it any more."""

    def __init__(self, length: int | None, most: int, room: Share) -> None:
        super().__init__(length, most)
        self._room = room
        self._held = 0
        if self._must_raise is not None:
            return  # it is too large by itself: nothing of it is kept
        size = most if length is None else length
        if room.take(size):
            self._held = size
        else:
            self._must_raise = Problem(
                503, "too many large bodies are being sent to this worker at once", retry_after=1
            )

    def clear(self) -> None:
        """Forget what was read."""
        super().clear()
        self.let_go()

    def let_go(self) -> None:
        """Give the room back."""
        self._room.give_back(self._held)
        self._held = 0
