"""The parts of a worker, each made as a configuration asks for it."""

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from vera_supervisor.api.app import create_app, methods_of
from vera_supervisor.api.guard import Guard
from vera_supervisor.api.room import Room
from vera_supervisor.api.server import Server
from vera_supervisor.api.services import Services
from vera_supervisor.catalogue import Catalogue, memory_tiers
from vera_supervisor.config import Config
from vera_supervisor.entrance import Entrance
from vera_supervisor.feed import Feed
from vera_supervisor.journald import Journald
from vera_supervisor.listening import most_connections
from vera_supervisor.logs import to_journal
from vera_supervisor.metrics import Metrics
from vera_supervisor.pool.cgroups import Groups, own_groups
from vera_supervisor.pool.launch import Settings
from vera_supervisor.pool.trial import Candidate, on_trial
from vera_supervisor.scheduling.admission import Ceilings
from vera_supervisor.scheduling.policy import Policy
from vera_supervisor.staffing import outfits, pool_policies, routes, warm_ups
from vera_supervisor.store.memory import MemoryStore
from vera_supervisor.store.protocol import Store
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_supervisor.store.url import database_path
from vera_supervisor.task_output import TaskOutput


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


def groups_of(config: Config) -> Groups | None:
    """Return where executors get control groups; None: nowhere."""
    if not config.executor.control_groups:
        return None
    return own_groups(config.limits.task_processes)


def feed_of(config: Config) -> Feed:
    """Return what clients can watch tasks by."""
    return Feed(config.server.event_history, config.server.event_backlog)


def shown_output(config: Config) -> Callable[[str, int, bytes], None] | None:
    """Return what takes the output of attempts for the log, if that is wanted."""
    if not config.logging.task_output:
        return None
    return TaskOutput(Journald() if to_journal() else None).write


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


def server_of(config: Config, listener: socket.socket, guard: Guard, entrance: Entrance) -> Server:
    """Return the server for a listening socket, to be opened."""
    return Server(
        guard,
        [listener],
        Room(most_connections(config), config.server.max_peer_connections),
        send_timeout_s=config.server.send_timeout,
        tls=entrance.tls,
    )
