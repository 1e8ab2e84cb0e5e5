"""How long a sender of many tasks puts up with a worker that cannot take them."""

import random
from collections.abc import Callable
from typing import Final

from vera_client.errors import Refused, WorkerUnreachable

QUEUE_FULL: Final = 429
#: Seconds before the next try at a worker that does not answer.
_AWAY_S: Final = 1.0
#: Seconds over which those who were sent away together come back: not all at the same moment.
_SPREAD_S: Final = 1.0


class Patience:
    """Decides what to do when a worker does not take a task.

    A full queue is waited for as long as it takes, since the worker works it off. One that drains,
    cannot store or does not answer gets `limit_s` seconds to come back, as it does after a restart;
    none at all if it has never taken anything, for then it is more likely the wrong one.
    """

    def __init__(self, limit_s: float, rng: Callable[[], float] = random.random) -> None:
        """`rng` returns numbers from 0 up to 1."""
        self._limit_s = limit_s
        self._rng = rng
        self._away_since: float | None = None
        #: Whether the worker has ever taken a task.
        self.met = False

    def answered(self) -> None:
        """Note that the worker is there and takes tasks."""
        self.met = True
        self._away_since = None

    def delay(self, error: Refused | WorkerUnreachable, now: float) -> float | None:
        """Return the seconds before the next try, or None to give up."""
        if isinstance(error, Refused) and error.status == QUEUE_FULL:
            self._away_since = None
            return self._soon_after(error.retry_after)
        if self._away_since is None:
            self._away_since = now
        if not self.met or now - self._away_since >= self._limit_s:
            return None
        return self._soon_after(error.retry_after if isinstance(error, Refused) else _AWAY_S)

    def _soon_after(self, seconds: float) -> float:
        return seconds + _SPREAD_S * self._rng()
