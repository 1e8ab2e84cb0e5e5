"""How fast the queue drains, and so when it is worth trying again.

If all who are refused were told the same time, they would come back together and find one free
place. So they are lined up: each is told when the place after those promised to the others will be
free. Every second place is not promised, but left to clients that come without having been refused:
otherwise they would take the places that were promised.
"""

import math
from typing import Final

#: Half of the rate's weight lies within the last so many seconds.
HALF_LIFE_S: Final = 10.0
#: Nobody is sent away for longer, nor when nothing has been measured.
MAX_RETRY_AFTER_S: Final = 60
#: The part of the places becoming free that is promised to clients that were refused.
TOLD: Final = 0.5


class DrainRate:
    """Tasks that left the queue per second, averaged with exponential decay."""

    def __init__(self, now: float) -> None:
        self._count = 0.0
        self._weight = 0.0
        self._pending = 0
        self._at = now
        #: When the place that was promised last will be free.
        self._line_ends = now

    def note(self, tasks: int = 1) -> None:
        """`tasks` left the queue since the last look."""
        self._pending += tasks

    def per_second(self, now: float) -> float:
        """Return the rate; 0 before anything was measured."""
        self.look(now)
        return self._count / self._weight if self._weight > 0 else 0.0

    def retry_after(self, now: float, *, stays: bool = True) -> int:
        """Return whole seconds until a place is free for one more who is sent away.

        The place is promised, unless the client only asks: not `stays`.
        """
        rate = self.per_second(now)
        if rate <= 0:
            return MAX_RETRY_AFTER_S // 6
        last = now + MAX_RETRY_AFTER_S
        free_at = min(max(self._line_ends, now) + 1 / rate / TOLD, last)
        if stays:
            self._line_ends = free_at
        # Bounded again: what is added to a large number and taken away may come out larger.
        return min(max(1, math.ceil(free_at - now)), MAX_RETRY_AFTER_S)

    def forget_line(self) -> None:
        """There is room again for whoever comes: those who were sent away stay away."""
        self._line_ends = -math.inf

    def look(self, now: float) -> None:
        """Let the past fade; to be called now and then, about once a second."""
        passed = max(0.0, now - self._at)
        if passed:
            # The weight is the integral of the decay over the time watched so far. What left since
            # the last look is spread evenly over that time, so the rate is right at any interval.
            factor = 0.5 ** (passed / HALF_LIFE_S)
            weight = (1 - factor) * HALF_LIFE_S / math.log(2)
            self._count = self._count * factor + self._pending * weight / passed
            self._weight = self._weight * factor + weight
            self._pending = 0
            self._at = now
