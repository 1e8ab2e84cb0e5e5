"""Whose turn it is: of the clients that wait, the one with the fewest running attempts. Pure.

So a client that sends ten thousand tasks delays another one's ten by about as many of its own, and
not by all of them.
"""

from collections import Counter
from collections.abc import Iterable


class Turns:
    """What each client has, by name."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        #: When each was last served.
        self._served: dict[str, int] = {}
        self._count = 0

    def begin(self, client: str) -> None:
        """An attempt of one of its tasks begins."""
        self._count += 1
        self._running[client] += 1
        self._served[client] = self._count

    def end(self, client: str) -> None:
        """That attempt has ended."""
        self._running[client] -= 1

    def next(self, clients: Iterable[str]) -> str | None:
        """Return whose turn it is of these: who has fewest attempts, or has waited longest."""
        return min(
            clients,
            key=lambda client: (self._running[client], self._served.get(client, 0)),
            default=None,
        )
