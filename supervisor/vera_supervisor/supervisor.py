"""The composition root: in which order the parts of a worker start, and how they stop."""

import logging
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import anyio
import anyio.to_thread
import msgspec

from vera_supervisor import logs
from vera_supervisor.access import differences
from vera_supervisor.api.guard import Guard, audit
from vera_supervisor.api.server import Server
from vera_supervisor.api.services import Services
from vera_supervisor.catalogue import Catalogue, Differences
from vera_supervisor.clock import SystemClock
from vera_supervisor.config import Config
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.entrance import Credentials, Entrance, entrance_of
from vera_supervisor.habits_file import keep_habits
from vera_supervisor.host import Host
from vera_supervisor.housekeeping import (
    Pulse,
    StoreWatch,
    feed_watchdog,
    prune,
    prune_interval_s,
    reap_orphans,
)
from vera_supervisor.journal import Journal
from vera_supervisor.listening import leave, listen, url_of
from vera_supervisor.metrics import Metrics
from vera_supervisor.notify import Notifier
from vera_supervisor.parts import (
    choose_store,
    code_on_trial,
    feed_of,
    groups_of,
    guarded_app,
    policy,
    server_of,
    shown_output,
)
from vera_supervisor.pool.cgroups import enforcement
from vera_supervisor.pool.pool import Pool
from vera_supervisor.pool.trial import Candidate
from vera_supervisor.reloading import Reloader
from vera_supervisor.restart import take_up
from vera_supervisor.schedule_marks import ScheduleMarks
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_supervisor.scheduling.slot import SlotState
from vera_supervisor.staffing import check_functions
from vera_supervisor.store.protocol import Store
from vera_supervisor.store.url import database_path
from vera_supervisor.survivors import end_survivors
from vera_supervisor.timekeeper import Timekeeper
from vera_worker.handlers import FunctionInfo

log = logging.getLogger(__name__)

#: After the drain, requests under way have so long to end before we hang up.
HANG_UP_S: Final = 1.0
#: What a stop takes besides the drain: killing executors, hanging up, closing the store.
_STOP_MARGIN_S: Final = 10.0
#: Seconds between two looks whether the first executor is ready.
_READY_POLL_S: Final = 0.01


class World(NamedTuple):
    """Who tells a running worker something, and whom it tells."""

    read: Callable[[], Config]
    hangups: AsyncIterator[signal.Signals]
    notifier: Notifier
    ready_fd: int | None


async def serve(config: Config, read: Callable[[], Config], ready_fd: int | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT; at SIGHUP it goes by what `read` then returns.

    `ready_fd`, if given, gets one JSON line `{"url": …}` once the worker takes tasks. Raises
    CannotListen, UnfitSocket, ModuleLoadError, UnfitSchedule, StoreUnavailable, or one of
    entrance.UNFIT.
    """
    notifier = Notifier.from_environment(os.environ)
    listener = listen(config)
    metrics = Metrics()
    store = choose_store(config, metrics)
    await store.open()
    try:
        database = database_path(config.store.url)
        if database is not None:
            await anyio.to_thread.run_sync(end_survivors, database)
        with anyio.open_signal_receiver(signal.SIGHUP) as hangups:
            world = World(read, hangups, notifier, ready_fd)
            await _serve(config, listener, store, metrics, world)
    finally:
        leave(listener)
        with anyio.CancelScope(shield=True):
            await store.close()
    log.info("stopped")


async def _serve(
    config: Config,
    listener: socket.socket,
    store: Store,
    metrics: Metrics,
    world: World,
) -> None:
    notifier = world.notifier
    entrance = await anyio.to_thread.run_sync(entrance_of, config)
    clock, journal = SystemClock(), Journal(feed_of(config))
    scheduler = Scheduler(policy(config), random.Random())  # noqa: S311 - jitter, no secret
    dispatcher = Dispatcher(
        scheduler, store, journal, metrics, clock, show_output=shown_output(config)
    )
    # Before the groups are made: this process may then move into one, which has other limits.
    host = Host(config.limits.cpu_cores, config.limits.memory)
    groups = await anyio.to_thread.run_sync(groups_of, config)
    code_of = partial(code_on_trial, groups)
    async with (
        executors(config, dispatcher, code_of, metrics) as (pool, functions),
        anyio.create_task_group() as group,
    ):
        catalogue = Catalogue(functions, config.tasks.functions)
        check_functions(config, catalogue)
        warn_of_doubts(config, catalogue)
        scheduler.obey(policy(config, catalogue))
        marks = ScheduleMarks(database_path(config.store.url))
        timekeeper = Timekeeper(config, catalogue, dispatcher, clock, marks)
        await take_up(store, dispatcher, clock)
        await first_executor(scheduler)
        pulse = Pulse(host, dispatcher, clock, pool, config.limits.gpus)
        pulse.tell_capacity()
        services = Services(
            config=config,
            dispatcher=dispatcher,
            store=store,
            catalogue=catalogue,
            metrics=metrics,
            host=host,
            pulse=pulse,
            store_watch=StoreWatch(store, clock),
            clock=clock,
            reloader=Reloader(config, world.read, entrance_of, code_of),
            enforcement=enforcement(groups),
            started_at=clock.now(),
        )
        guard = guarded_app(services, entrance)
        server = server_of(config, listener, guard, entrance)
        worker = Worker(services, guard, server, timekeeper, pool)
        url = url_of(listener, tls=entrance.tls is not None)
        await server.open()
        for job in worker.jobs(world):
            group.start_soon(job)
        group.start_soon(_tell_ready, services, notifier, url)
        _announce(url, world.ready_fd)
        await stop_on_signal(config, dispatcher, notifier)
        journal.close()
        await server.close(HANG_UP_S)
        group.cancel_scope.cancel()


class Worker(NamedTuple):
    """A running worker: what goes on in it besides requests, and what a reload changes."""

    services: Services
    guard: Guard
    server: Server
    timekeeper: Timekeeper
    pool: Pool

    def jobs(self, world: World) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Return everything that runs beside the requests, for ever."""
        services, notifier = self.services, world.notifier
        habits, kept = services.dispatcher.scheduler.waiting.habits, services.config.store
        return [
            services.pulse.run,
            services.store_watch.run,
            self.timekeeper.run,
            reap_orphans,
            partial(prune, services.store, services.clock, prune_interval_s(kept.result_ttl)),
            partial(keep_habits, habits, kept.url),
            partial(services.reloader.run, self.obey, world.hangups, notifier),
            partial(feed_watchdog, notifier, services.makes_progress),
        ]

    def obey(self, config: Config, entrance: Entrance, code: Candidate) -> Differences:
        """Go by these from now on, and return how the functions differ.

        Raises UnfitPool or UnfitSchedule, and then nothing has changed.
        """
        catalogue = Catalogue(code.functions, config.tasks.functions)
        check_functions(config, catalogue)
        templates = self.timekeeper.templates(config, catalogue)
        # Nothing can fail from here on, and nobody gets a turn in between.
        services, dispatcher = self.services, self.services.dispatcher
        differences = services.catalogue.differences(catalogue)
        tell_of_tokens(self.guard.credentials, entrance.credentials)
        self.guard.credentials, self.server.tls = entrance
        services.config, services.catalogue = config, catalogue
        self.timekeeper.obey(templates)
        logs.configure(config.logging.level, config.logging.format)
        self.pool.adopt(code)
        dispatcher.scheduler.obey(policy(config, catalogue))
        dispatcher.post(ev.CodeReplaced())
        warn_of_doubts(config, catalogue)
        return differences


def tell_of_tokens(old: Credentials, new: Credentials) -> None:
    """Put down whose tokens a reload has changed."""
    for said in differences(old, new):
        audit.info("token %s", said)


def warn_of_doubts(config: Config, catalogue: Catalogue) -> None:
    """Say what is said in vain."""
    if config.limits.task_memory is not None and config.limits.memory_tiers:
        log.warning(
            "limits.task_memory holds nobody to anything: limits.memory_tiers is set as well; "
            "take one of them out"
        )
    for doubt in catalogue.doubts:
        log.warning("%s", doubt)


@asynccontextmanager
async def executors(
    config: Config,
    dispatcher: Dispatcher,
    code_of: Callable[[Config], AbstractAsyncContextManager[Candidate]],
    metrics: Metrics,
) -> AsyncIterator[tuple[Pool, tuple[FunctionInfo, ...]]]:
    """Start the executors, say what they offer, and kill them all on the way out.

    Raises one of trial.UNFIT.
    """
    limits = config.limits
    pool = Pool(
        dispatcher.post,
        max_result_bytes=limits.max_result,
        max_output_bytes=limits.max_output,
        on_start=lambda name, seconds: metrics.start_seconds[name].observe(seconds),
    )
    dispatcher.attach(pool)
    try:
        async with code_of(config) as code:
            pool.adopt(code)
        dispatcher.post(ev.TimePassed())  # the roster is short of its minimum: it launches
        yield pool, code.functions
    finally:
        with anyio.CancelScope(shield=True):
            dispatcher.detach()
            await pool.close()


async def stop_on_signal(config: Config, dispatcher: Dispatcher, notifier: Notifier) -> None:
    """Wait for SIGTERM or SIGINT, then drain; a second signal ends the drain at once."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("%s: draining for at most %g s", number.name, config.server.drain_timeout)
            notifier.stopping(
                f"draining for at most {config.server.drain_timeout:g} s",
                config.server.drain_timeout + _STOP_MARGIN_S,
            )
            break
        async with anyio.create_task_group() as group:

            async def drain() -> None:
                await dispatcher.drain(config.server.drain_timeout)
                group.cancel_scope.cancel()

            async def hurry() -> None:
                async for number in signals:
                    log.warning("%s again: stopping at once", number.name)
                    group.cancel_scope.cancel()

            group.start_soon(drain)
            group.start_soon(hurry)
    await dispatcher.interrupt()


async def first_executor(scheduler: Scheduler) -> None:
    """Return when an executor is ready, or none can be expected to become so soon."""
    slots = scheduler.slots
    while slots.last_sign_of_life is None:
        if not any(slot.state is SlotState.STARTING for slot in slots):
            return
        await anyio.sleep(_READY_POLL_S)


async def _tell_ready(services: Services, notifier: Notifier, url: str) -> None:
    """Tell the service manager once it works; how long that may take is its business.

    A machine that others fill just now is no reason to start it again.
    """
    while not services.health().works:  # noqa: ASYNC110 - no single event makes it so
        await anyio.sleep(_READY_POLL_S)
    notifier.ready(f"takes tasks on {url}")


def _announce(url: str, ready_fd: int | None) -> None:
    log.info("listening on %s", url)
    if ready_fd is not None:
        os.write(ready_fd, msgspec.json.encode({"url": url}) + b"\n")
        os.close(ready_fd)
