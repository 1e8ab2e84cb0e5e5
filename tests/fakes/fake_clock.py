"""A clock that moves only when it is told to."""

from collections.abc import Callable
from typing import Final

#: How far the wall clock is ahead of the monotonic one.
EPOCH: Final = 1.0e9


class FakeTimer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._ahead_s = EPOCH
        self._timers: list[FakeTimer] = []

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._ahead_s

    def put_forward(self, seconds: float) -> None:
        """Change the clock on the wall, or put it back; the one to measure with does not notice."""
        self._ahead_s += seconds

    def call_at(self, when: float, call: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(when, call)
        self._timers.append(timer)
        return timer

    @property
    def armed(self) -> list[float]:
        """When the timers that are still to come will call, in order."""
        return sorted(timer.when for timer in self._timers if not timer.cancelled)

    def pass_time(self, seconds: float) -> None:
        """Go on by `seconds`; each timer calls at its own time."""
        end = self._now + seconds
        for _ in range(1000):
            due = [t for t in self._timers if not t.cancelled and t.when <= end]
            if not due:
                self._now = end
                return
            timer = min(due, key=lambda timer: timer.when)
            self._timers.remove(timer)
            self._now = max(self._now, timer.when)
            timer.call()
        raise AssertionError("timers call without end")
