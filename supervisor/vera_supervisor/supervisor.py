"""The composition root: what a worker is made of, in which order it starts, and how it stops."""

import logging
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

import anyio
import anyio.to_thread
import msgspec

from vera_supervisor import events as ev
from vera_supervisor import logs
from vera_supervisor.access import differences
from vera_supervisor.admission import Ceilings
from vera_supervisor.api.app import create_app, methods_of
from vera_supervisor.api.guard import Guard, audit
from vera_supervisor.api.room import Room
from vera_supervisor.api.server import Server
from vera_supervisor.api.services import Services
from vera_supervisor.catalogue import Catalogue, Differences, memory_tiers
from vera_supervisor.clock import SystemClock
from vera_supervisor.config import Config
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.entrance import Credentials, Entrance, entrance_of
from vera_supervisor.feed import Feed
from vera_supervisor.habits_file import keep_habits
from vera_supervisor.host import Host
from vera_supervisor.housekeeping import (
    Pulse,
    StoreWatch,
    bury_strangers,
    feed_watchdog,
    prune,
)
from vera_supervisor.journal import Journal
from vera_supervisor.journald import Journald
from vera_supervisor.listening import leave, listen, most_connections, url_of
from vera_supervisor.logs import to_journal
from vera_supervisor.metrics import Metrics
from vera_supervisor.notify import Notifier
from vera_supervisor.policy import Policy
from vera_supervisor.pool.cgroups import Groups, enforcement, own_groups
from vera_supervisor.pool.launch import Settings
from vera_supervisor.pool.pool import Pool
from vera_supervisor.pool.trial import Candidate, on_trial
from vera_supervisor.reloading import Reloader
from vera_supervisor.restart import take_up
from vera_supervisor.scheduler import Scheduler
from vera_supervisor.slot import SlotState
from vera_supervisor.staffing import (
    check_functions,
    outfits,
    pool_policies,
    routes,
    warm_ups,
)
from vera_supervisor.store.memory import MemoryStore
from vera_supervisor.store.protocol import Store
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_supervisor.store.url import database_path
from vera_supervisor.survivors import end_survivors
from vera_supervisor.task_output import TaskOutput
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
    # First: then this process may move to a group of its own, which is not what there is to see.
    host = Host(config.limits.cpu_cores, config.limits.memory)
    groups = await anyio.to_thread.run_sync(groups_of, config)
    code_of = partial(code_on_trial, groups)
    async with (
        executors(config, dispatcher, code_of, metrics) as (pool, functions),
        anyio.create_task_group() as group,
    ):
        catalogue = Catalogue(functions, config.tasks.functions)
        check_functions(config, catalogue)
        warn_of_doubts(catalogue)
        scheduler.obey(policy(config, catalogue))
        timekeeper = Timekeeper(config, catalogue, dispatcher, clock)
        await take_up(store, dispatcher, clock)
        await first_executor(scheduler)
        pulse = Pulse(host, dispatcher, clock, pool, config.limits.gpus)
        pulse.tell_capacity()
        store_watch = StoreWatch(store, clock)

        def obey(new: Config, entrance: Entrance, code: Candidate) -> Differences:
            catalogue = Catalogue(code.functions, new.tasks.functions)
            check_functions(new, catalogue)
            templates = timekeeper.templates(new, catalogue)
            # Whatever could fail has not: from here on all is taken up, with nobody in between.
            differences = services.catalogue.differences(catalogue)
            tell_of_tokens(app.credentials, entrance.credentials)
            app.credentials, server.tls = entrance
            services.config, services.catalogue = new, catalogue
            timekeeper.obey(templates)
            logs.configure(new.logging.level, new.logging.format)
            pool.adopt(code)
            scheduler.obey(policy(new, catalogue))
            dispatcher.post(ev.CodeReplaced())
            warn_of_doubts(catalogue)
            return differences

        reloader = Reloader(config, world.read, entrance_of, code_of, obey)
        services = Services(
            config=config,
            dispatcher=dispatcher,
            store=store,
            catalogue=catalogue,
            metrics=metrics,
            host=host,
            pulse=pulse,
            store_watch=store_watch,
            clock=clock,
            reloader=reloader,
            enforcement=enforcement(groups),
            started_at=clock.now(),
        )
        app = guarded_app(services, entrance)
        server = Server(
            app,
            [listener],
            Room(most_connections(config), config.server.max_peer_connections),
            send_timeout_s=config.server.send_timeout,
            tls=entrance.tls,
        )
        url = url_of(listener, tls=entrance.tls is not None)
        await server.open()
        for service in (pulse.run, store_watch.run, timekeeper.run, bury_strangers):
            group.start_soon(service)
        group.start_soon(prune, store, clock)
        group.start_soon(keep_habits, scheduler.waiting.habits, config.store.url, catalogue.names)
        group.start_soon(reloader.run, world.hangups, notifier)
        group.start_soon(feed_watchdog, notifier, services.gets_on)
        group.start_soon(_tell_ready, services, notifier, url)
        _announce(url, world.ready_fd)
        await stop_on_signal(config, dispatcher, notifier)
        journal.close()
        await server.close(HANG_UP_S)
        group.cancel_scope.cancel()


def tell_of_tokens(old: Credentials, new: Credentials) -> None:
    """Put down whose tokens a reload has changed."""
    for said in differences(old, new):
        audit.info("token %s", said)


def guarded_app(services: Services, entrance: Entrance) -> Guard:
    """Return the application behind its guard."""
    app = create_app(services)
    return Guard(
        app,
        credentials=entrance.credentials,
        allowed_hosts=services.config.server.allowed_hosts,
        open_metrics=services.config.auth.open_metrics,
        methods_of=methods_of(app),
    )


def choose_store(config: Config, metrics: Metrics) -> Store:
    """Return the store that the configuration names, to be opened."""
    result_ttl_s, max_bytes = config.store.result_ttl, config.store.max_bytes
    path = database_path(config.store.url)
    if path is None:
        return MemoryStore(result_ttl_s=result_ttl_s, max_bytes=max_bytes)
    return SqliteStore(
        path,
        result_ttl_s=result_ttl_s,
        max_bytes=max_bytes,
        on_commit=metrics.commit_seconds.observe,
    )


def feed_of(config: Config) -> Feed:
    """Return what clients can watch tasks by."""
    return Feed(config.server.event_history, config.server.event_backlog)


def policy(config: Config, catalogue: Catalogue | None = None) -> Policy:
    """Return what the scheduler is to go by."""
    return Policy(
        pools=pool_policies(config),
        routes=routes(config),
        queue_size=config.queue.size,
        ceilings=Ceilings(
            max_cpu_percent=config.limits.max_cpu_percent,
            max_memory_percent=config.limits.max_memory_percent,
        ),
        aging_step_s=config.queue.aging_step,
        crash_retries=config.limits.crash_retries,
        at_most_once=frozenset() if catalogue is None else catalogue.at_most_once,
        max_concurrency={} if catalogue is None else catalogue.max_concurrency,
        alone=frozenset() if catalogue is None else catalogue.alone,
        sandboxes={} if catalogue is None else catalogue.sandboxes,
        task_memory=memory_tiers(config.limits.task_memory, config.limits.memory_tiers),
        memory={} if catalogue is None else catalogue.memory,
        functions=None if catalogue is None else catalogue.names,
    )


def shown_output(config: Config) -> Callable[[str, int, bytes], None] | None:
    """Return what takes the output of attempts for the log, if that is wanted."""
    if not config.logging.task_output:
        return None
    return TaskOutput(Journald() if to_journal() else None).write


def groups_of(config: Config) -> Groups | None:
    """Return where executors get control groups; None: nowhere."""
    if not config.executor.control_groups:
        return None
    return own_groups(config.limits.task_processes)


def warn_of_doubts(catalogue: Catalogue) -> None:
    """Say what is said of functions in vain."""
    for doubt in catalogue.doubts:
        log.warning("%s", doubt)


def code_on_trial(groups: Groups | None, config: Config) -> AbstractAsyncContextManager[Candidate]:
    """Return the code that a configuration names, to be loaded and tried."""
    settings = Settings(
        modules=config.tasks.modules,
        max_payload_bytes=config.limits.max_body,
        max_result_bytes=config.limits.max_result,
        nice=config.executor.nice,
        warm_ups=warm_ups(config),
    )
    return on_trial(settings, groups, outfits(config), config.executor.start_timeout)


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
    """Tell the service manager once a task would start; how long that may take is its business."""
    while not services.health().ready:  # noqa: ASYNC110 - no single event makes it so
        await anyio.sleep(_READY_POLL_S)
    notifier.ready(f"takes tasks on {url}")


def _announce(url: str, ready_fd: int | None) -> None:
    log.info("listening on %s", url)
    if ready_fd is not None:
        os.write(ready_fd, msgspec.json.encode({"url": url}) + b"\n")
        os.close(ready_fd)
