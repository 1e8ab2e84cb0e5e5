"""How late the event loop is (O8): the last look for health, the worst of late for who scrapes."""

from collections.abc import Iterable
from typing import Any, cast

import pytest

from tests.fakes.on_loop import on_loop
from vera_supervisor import housekeeping
from vera_supervisor.clock import Clock
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.host import SAMPLE_INTERVAL_S, Host, Usage
from vera_supervisor.housekeeping import LAG_WINDOW_S, Pulse

LOOKS_REMEMBERED = round(LAG_WINDOW_S / SAMPLE_INTERVAL_S)


class Over(Exception):
    """There is nothing left to look at."""


class LateClock:
    """Is asked twice for each look: when that is due, and when it comes."""

    def __init__(self, lags_s: Iterable[float]) -> None:
        self._moments = [at for lag_s in lags_s for at in (0.0, SAMPLE_INTERVAL_S + lag_s)]

    def now(self) -> float:
        if not self._moments:
            raise Over
        return self._moments.pop(0)


class Nobody:
    """A host without load, a dispatcher that does nothing, and no executors."""

    cpu_cores, memory_total_bytes = 1.0, 2**30

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args: Usage()

    def pids(self) -> list[int]:
        return []


async def looked(monkeypatch: pytest.MonkeyPatch, *lags_s: float) -> Pulse:
    async def at_once(_seconds: float) -> None:
        """Sleep no time."""

    monkeypatch.setattr(housekeeping.anyio, "sleep", at_once)
    nobody = Nobody()
    clock = cast("Clock", LateClock(lags_s))
    pulse = Pulse(cast("Host", nobody), cast("Dispatcher", nobody), clock, cast("Any", nobody))
    with pytest.raises(Over):
        await pulse.run()
    return pulse


@on_loop
async def test_the_worst_of_late_outlasts_the_last_look() -> None:
    with pytest.MonkeyPatch.context() as patch:
        pulse = await looked(patch, 0.0, 0.7, 0.1)
    assert (pulse.loop_lag_s, pulse.worst_lag_s) == (pytest.approx(0.1), pytest.approx(0.7))


@on_loop
async def test_it_is_forgotten_in_time() -> None:
    with pytest.MonkeyPatch.context() as patch:
        pulse = await looked(patch, 0.7, *[0.2] * LOOKS_REMEMBERED)
    assert pulse.worst_lag_s == pytest.approx(0.2)


@on_loop
async def test_before_the_first_look_it_is_not_late() -> None:
    with pytest.MonkeyPatch.context() as patch:
        pulse = await looked(patch)
    assert pulse.worst_lag_s == 0.0
