"""Whether the worker is well: one predicate, for clients, for probes and for the watchdog."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

#: A loop that lags more than this does not serve anybody in time.
MAX_LAG_S: Final = 1.0
#: Executors show life by starting tasks or passing self-checks: silence for the interval of these
#: checks and so many seconds more is too long.
SIGN_OF_LIFE_MARGIN_S: Final = 10.0
#: A store that has not answered for so long accepts no tasks.
STORE_SILENCE_S: Final = 5.0
#: After so long its thread is not expected to come back. It is a while, since a disk may be slow.
STORE_GIVEN_UP_S: Final = 60.0


class State(StrEnum):
    """What a client is told."""

    HEALTHY = "healthy"
    #: It works, but not as it should.
    DEGRADED = "degraded"
    DRAINING = "draining"
    #: A task sent now would not run.
    UNHEALTHY = "unhealthy"


class PoolSigns(msgspec.Struct, frozen=True, kw_only=True):
    """What the verdict on one pool rests on."""

    name: str
    #: Executors that take tasks or work on one.
    serving: int
    #: Executors that should be there even when there is nothing to do.
    min_workers: int
    #: How many in a row died before they were ready.
    failed_starts: int
    #: Whether others are on their way, in place of those that were there.
    replaced: bool = False

    @property
    def deserted(self) -> bool:
        """Whether there is no executor although there should be one."""
        if self.serving or (self.replaced and not self.failed_starts):
            return False
        return self.min_workers > 0 or self.failed_starts > 0  # else it comes with a task


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What the verdict rests on."""

    draining: bool
    loop_lag_s: float
    pools: tuple[PoolSigns, ...]
    #: Executors that work on a task, of all pools; its deadline watches over them.
    busy_executors: int
    #: Seconds since an executor last did anything; None: never.
    quiet_s: float | None
    check_interval_s: float
    queue_full: bool
    #: How many tasks wait for a function that no longer exists, by its name.
    unknown_functions: Mapping[str, int] = {}
    #: What holds starts back, in one clause; None: nothing does.
    held_back: str | None = None
    #: Whether it has done so for too long to be a passing moment.
    standstill: bool = False
    #: Why the store cannot write; None: it can.
    store_fault: str | None
    #: Seconds since the store was asked something that it has not answered.
    store_silent_s: float = 0.0

    @property
    def idle(self) -> bool:
        """Whether there are executors, and none of them works."""
        return not self.busy_executors and any(pool.serving for pool in self.pools)


class Health(msgspec.Struct, frozen=True):
    """The verdict and the reasons for it."""

    state: State
    reasons: list[str]
    #: Whether what others use of the machine leaves nothing for tasks.
    standstill: bool = False

    @property
    def works(self) -> bool:
        """Whether it takes tasks, and starts them once there is room."""
        return self.state in (State.HEALTHY, State.DEGRADED)

    @property
    def ready(self) -> bool:
        """Whether a task sent now would start."""
        return self.works and not self.standstill


def assess(signs: Signs) -> Health:
    """Return how things stand."""
    sick: list[str] = []
    poor = _impediments(signs)
    deserted = [pool for pool in signs.pools if pool.deserted]
    if len(deserted) == len(signs.pools):
        sick.append("no executor is ready")
    else:
        poor += [f"no executor of the pool {pool.name} is ready" for pool in deserted]
    if signs.idle and _too_quiet(signs):
        sick.append("no executor has shown a sign of life lately")
    if signs.store_fault is not None:
        sick.append(signs.store_fault)
    if signs.store_silent_s > STORE_SILENCE_S:
        sick.append(f"the store has not answered for {signs.store_silent_s:.0f} s")
    if signs.loop_lag_s > MAX_LAG_S:
        sick.append(f"the event loop is {signs.loop_lag_s:.1f} s late")
    if signs.draining:
        return Health(State.DRAINING, ["the worker is draining", *sick, *poor])
    if sick:
        return Health(State.UNHEALTHY, sick + poor)
    return Health(State.DEGRADED if poor else State.HEALTHY, poor, signs.standstill)


def _impediments(signs: Signs) -> list[str]:
    """Return why it works, but not as it should."""
    poor: list[str] = []
    for pool in signs.pools:
        if pool.failed_starts:
            where = "" if len(signs.pools) == 1 else f" in the pool {pool.name}"
            count = pool.failed_starts
            poor.append(f"{count} executors in a row died{where} before they were ready")
    for function, count in sorted(signs.unknown_functions.items()):
        poor.append(
            f"{count} tasks wait for the function {function!r}, which no task module offers"
        )
    if signs.queue_full:
        poor.append("the queue is full")
    if signs.held_back is not None:
        poor.append(signs.held_back)
    return poor


def makes_progress(signs: Signs) -> bool:
    """Return whether the worker makes progress; where it does not, a restart is what helps.

    A full queue, a faulty store or executors that cannot start are no reason: they would outlast
    the restart. Nor is silence in a drain, where nobody is asked for a sign of life.
    """
    if signs.loop_lag_s > MAX_LAG_S or signs.store_silent_s > STORE_GIVEN_UP_S:
        return False
    return signs.draining or not (signs.idle and _too_quiet(signs))


def _too_quiet(signs: Signs) -> bool:
    longest_s = signs.check_interval_s + SIGN_OF_LIFE_MARGIN_S
    return signs.quiet_s is None or signs.quiet_s > longest_s
