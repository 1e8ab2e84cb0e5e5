"""The configuration: one typed schema, read from a file, the environment and the command line."""

from vera_supervisor.config.changes import Change, changes
from vera_supervisor.config.faults import ConfigError, Fault
from vera_supervisor.config.key_paths import (
    FUNCTION_KEYS,
    KEYS,
    POOL_KEYS,
    RELOADABLE,
    SCHEDULE_KEYS,
    explained,
    shown,
)
from vera_supervisor.config.loading import Loaded, load
from vera_supervisor.config.pools import GPU_VARIABLE, Pool
from vera_supervisor.config.schedules import Schedule
from vera_supervisor.config.schema import Config
from vera_supervisor.config.service import (
    Auth,
    Health,
    LogFormat,
    Logging,
    LogLevel,
    Server,
    Store,
    Worker,
)
from vera_supervisor.config.work import Executor, FunctionLimits, Limits, Queue, Tasks

__all__ = [
    "FUNCTION_KEYS",
    "GPU_VARIABLE",
    "KEYS",
    "POOL_KEYS",
    "RELOADABLE",
    "SCHEDULE_KEYS",
    "Auth",
    "Change",
    "Config",
    "ConfigError",
    "Executor",
    "Fault",
    "FunctionLimits",
    "Health",
    "Limits",
    "Loaded",
    "LogFormat",
    "LogLevel",
    "Logging",
    "Pool",
    "Queue",
    "Schedule",
    "Server",
    "Store",
    "Tasks",
    "Worker",
    "changes",
    "explained",
    "load",
    "shown",
]
