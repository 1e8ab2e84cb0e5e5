"""The whole configuration: its sections, each of which declares its keys once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vera_supervisor.config.pools import Pool
from vera_supervisor.config.schedules import Schedule
from vera_supervisor.config.service import Auth, Health, Logging, Server, Store, Worker
from vera_supervisor.config.work import Executor, Limits, Queue, Tasks


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The whole configuration; `Config()` is all defaults."""

    worker: Worker = field(default_factory=Worker)
    server: Server = field(default_factory=Server)
    auth: Auth = field(default_factory=Auth)
    logging: Logging = field(default_factory=Logging)
    executor: Executor = field(default_factory=Executor)
    queue: Queue = field(default_factory=Queue)
    limits: Limits = field(default_factory=Limits)
    health: Health = field(default_factory=Health)
    store: Store = field(default_factory=Store)
    tasks: Tasks = field(default_factory=Tasks)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    schedules: tuple[Schedule, ...] = ()
    #: Where each value came from, by dotted key; configurations that say the same are the same.
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
