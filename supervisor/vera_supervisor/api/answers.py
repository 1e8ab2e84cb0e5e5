"""The JSON of what the worker says of itself: its health, its metrics, its functions."""

from typing import Any, Literal, TypedDict

import msgspec

from vera_supervisor.api.schemas import RecordOut, Time
from vera_supervisor.config import FunctionLimits
from vera_supervisor.health import State
from vera_supervisor.pool.cgroups import Enforcement
from vera_supervisor.scheduling.habits import Habit


class PoolOut(msgspec.Struct):
    """How one pool of executors stands now."""

    max_workers: int
    queued: int
    executors: dict[str, int]


class HealthOut(msgspec.Struct):
    """How the worker stands now."""

    status: State
    worker_id: str
    active_tasks: int
    queue_size: int
    cpu_percent: float
    memory_percent: float
    timestamp: Time
    executors: dict[str, int]
    pools: dict[str, PoolOut]
    reasons: list[str]
    # What Vera's orchestrator reads.
    cpu_usage: float
    memory_usage_mb: float
    enforcement: Enforcement


class Live(msgspec.Struct):
    """The worker's process responds."""

    status: Literal["live"] = "live"


class Ready(msgspec.Struct):
    """Whether a task sent now would start."""

    status: Literal["ready", "not ready"]
    reasons: list[str]


class MetricsOut(msgspec.Struct):
    """What was counted since the worker's start."""

    tasks_completed: int
    tasks_failed: int
    tasks_queued: int
    tasks_cancelled: int
    active_tasks: int
    average_execution_time: float
    uptime_seconds: float
    cpu_cores: float
    memory_total_gb: float
    failures_by_cause: dict[str, int]
    submissions_rejected: int
    late_answers: int
    executors: dict[str, int]
    pools: dict[str, PoolOut]


class FunctionOut(msgspec.Struct):
    """A function that can be called."""

    name: str
    module: str
    signature: str
    doc: str
    pool: str
    limits: FunctionLimits
    idempotent: bool
    usage: Habit | None


class Functions(msgspec.Struct):
    """All functions that can be called."""

    functions: list[FunctionOut]


class PageOut(msgspec.Struct):
    """Some tasks, newest first."""

    tasks: list[RecordOut]
    cursor: str | None


class Cancelled(msgspec.Struct):
    """How many tasks were cancelled."""

    cancelled: int
    stopping: int


class Purged(msgspec.Struct):
    """How many ended tasks were forgotten."""

    purged: int


class Draining(msgspec.Struct):
    """The worker accepts and starts no tasks."""

    active_tasks: int
    status: Literal["draining"] = "draining"


class Resumed(msgspec.Struct):
    """The worker accepts tasks again."""

    status: State


class ChangeOut(msgspec.Struct):
    """A key of the configuration that has changed."""

    key: str
    old: Any
    new: Any


class FunctionChanges(msgspec.Struct):
    """Which functions a reload has added, removed, or visibly changed."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Reloaded(msgspec.Struct):
    """What a reload has changed; the code of all task modules is new in any case."""

    changes: list[ChangeOut]
    functions: FunctionChanges


class Setting(TypedDict):
    """A value of the configuration."""

    value: Any
    origin: str


class Capabilities(msgspec.Struct):
    """What Vera's orchestrator wants to know of a worker."""

    capabilities: list[str]
    max_concurrent_tasks: int
    functions: list[str]
    worker_id: str


class OutcomeMetrics(msgspec.Struct):
    """What an execution took."""

    execution_time_ms: float
    queue_time_ms: float
    attempts: int
    task_id: str
    worker_id: str


class Outcome(msgspec.Struct):
    """What became of an execution."""

    success: bool
    data: Any
    error: str | None
    metrics: OutcomeMetrics
