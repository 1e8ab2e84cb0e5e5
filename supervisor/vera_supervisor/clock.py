"""The one place that reads a clock."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Make sure that it does not happen."""


class Clock(Protocol):
    """Two clocks: one to measure with, one to write down."""

    def now(self) -> float:
        """Return seconds on the monotonic clock; deadlines are kept in these."""

    def wall(self) -> float:
        """Return seconds since the epoch; for records and people, never for deadlines."""

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call back once, at `when` on the monotonic clock or a little later."""


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call back once, at `when` on the monotonic clock or a little later."""
        return asyncio.get_running_loop().call_later(max(0.0, when - self.now()), call)
