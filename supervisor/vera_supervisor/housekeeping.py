"""What has to be done from time to time, whether or not a client asks for anything."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import anyio
import anyio.to_thread

from vera_supervisor.clock import Clock
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.host import SAMPLE_INTERVAL_S, Host
from vera_supervisor.notify import Notifier
from vera_supervisor.pool import fork_servers
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.admission import Load
from vera_supervisor.scheduling.reservations import Capacity
from vera_supervisor.store.protocol import Store, StoreUnavailable

log = logging.getLogger(__name__)

#: Seconds for which the loop's worst lag is remembered: until even a slow scraper has seen it.
LAG_WINDOW_S: Final = 15.0
#: Seconds between two prunings of the store at most; and at least, however soon results expire.
PRUNE_INTERVAL_S: Final = 30.0
LEAST_PRUNE_INTERVAL_S: Final = 1.0
#: Seconds for which a dead orphan of the container may stay unreaped.
REAP_INTERVAL_S: Final = 1.0
#: Seconds between an answer of the store and the next question, and the id that it is asked for.
STORE_INTERVAL_S: Final = 1.0
NOBODY: Final = " no task "
_MIB: Final = 1024 * 1024


class Executors(Protocol):
    """Those whose use of the CPU is looked at."""

    def pids(self) -> Iterable[int]:
        """Return their process ids."""

    def note_cpu(self, seconds_of: Mapping[int, float]) -> None:
        """Take in how much CPU time each has used so far."""


class Pulse:
    """Looks at the host, and at how late the event loop is; tells the scheduler of the load."""

    def __init__(
        self,
        host: Host,
        dispatcher: Dispatcher,
        clock: Clock,
        executors: Executors,
        gpus: int = 0,
    ) -> None:
        self._host = host
        self._dispatcher = dispatcher
        self._clock = clock
        self._executors = executors
        self._gpus = gpus
        self.loop_lag_s = 0.0
        self._lags: deque[float] = deque(maxlen=round(LAG_WINDOW_S / SAMPLE_INTERVAL_S))

    @property
    def worst_lag_s(self) -> float:
        """The loop's worst lag of late, for those who look less often than we do."""
        return max(self._lags, default=0.0)

    def tell_capacity(self) -> None:
        """Let tasks reserve what this worker may use now, which can change while it runs."""
        capacity = Capacity(
            cpu_cores=self._host.cpu_cores,
            memory_mb=self._host.memory_total_bytes / _MIB,
            gpus=self._gpus,
        )
        self._dispatcher.post(ev.CapacitySeen(capacity))

    async def run(self) -> None:
        """Look for ever."""
        while True:
            due = self._clock.now() + SAMPLE_INTERVAL_S
            await anyio.sleep(SAMPLE_INTERVAL_S)
            now = self._clock.now()
            self.loop_lag_s = max(0.0, now - due)
            self._lags.append(self.loop_lag_s)
            usage = self._host.look(self._executors.pids())
            self._executors.note_cpu(usage.executors_cpu_s)
            load = Load(
                cpu_percent=usage.cpu_percent,
                own_cpu_percent=usage.own_cpu_percent,
                memory_percent=usage.memory_percent,
                memory_pressure_percent=usage.memory_pressure_percent or 0.0,
            )
            self._dispatcher.post(ev.LoadSeen(load))
            self.tell_capacity()
            self._dispatcher.look_at_drain(now)


class StoreWatch:
    """Asks the store for something small again and again: a thread that hangs gives no answer."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._asked_at: float | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since it was asked; 0 where it has answered."""
        return 0.0 if self._asked_at is None else self._clock.now() - self._asked_at

    async def ask(self) -> None:
        """Ask once; returns when it has answered, even if only that it cannot read."""
        self._asked_at = self._clock.now()
        with suppress(StoreUnavailable):
            await self._store.get(NOBODY)
        self._asked_at = None

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.ask()
            await anyio.sleep(STORE_INTERVAL_S)


async def feed_watchdog(notifier: Notifier, makes_progress: Callable[[], bool]) -> None:
    """Keep the service manager's watchdog quiet while the worker makes progress, for ever."""
    if notifier.watchdog_s is None:
        return
    # No less often than the pulse, so that one bad moment costs no restart.
    interval_s = min(notifier.watchdog_s / 2, SAMPLE_INTERVAL_S)
    while True:
        if makes_progress():
            notifier.alive()
        await anyio.sleep(interval_s)


async def reap_orphans() -> None:
    """As the first process of a container, reap every orphan in it, for ever."""
    while os.getpid() == 1:
        await anyio.sleep(REAP_INTERVAL_S)
        await anyio.to_thread.run_sync(fork_servers.reap_orphans)


def prune_interval_s(result_ttl_s: float) -> float:
    """Return the seconds between two prunings: what is kept too long is kept little longer."""
    return max(LEAST_PRUNE_INTERVAL_S, min(PRUNE_INTERVAL_S, result_ttl_s / 10))


async def prune(store: Store, clock: Clock, interval_s: float) -> None:
    """Forget what has been kept long enough, for ever."""
    while True:
        await anyio.sleep(interval_s)
        with suppress(StoreUnavailable):  # it will be well again, and is asked again
            forgotten = await store.prune(clock.wall())
            if forgotten:
                log.debug("%d ended tasks were forgotten", forgotten)
