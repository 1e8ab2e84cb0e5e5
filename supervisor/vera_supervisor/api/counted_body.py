"""Large bodies come in only while there is room for them, whoever sends them and how slowly.

Those that go out have such a room of their own: see paced_body.
"""

from typing import Final

from quart.wrappers.request import Body

from vera_supervisor.api.problems import Problem

#: Smaller ones are not counted: the number of connections bounds them.
SMALL_BYTES: Final = 64 * 1024


class BodyRoom:
    """Bytes of large bodies that are on their way, all in one direction."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @property
    def full(self) -> bool:
        """Whether there is no room for anything large."""
        return self._taken >= self._most

    def take(self, size: int) -> bool:
        """Return whether there is room for so many more; one body always has it."""
        if self._taken and self._taken + size > self._most:
            return False
        self.overdraw(size)
        return True

    def overdraw(self, size: int) -> None:
        """Count so many more, whether there is room or not."""
        self._taken += size

    def give_back(self, size: int) -> None:
        """Have that room again."""
        self._taken -= size


class CountedBody(Body):
    """A body that has its room until it was read, or nobody wants it any more."""

    def __init__(self, length: int | None, most: int, room: BodyRoom) -> None:
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
