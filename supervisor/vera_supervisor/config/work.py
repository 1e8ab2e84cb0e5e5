# ruff: noqa: RUF009 - key() returns a dataclass field
"""What can be configured of the work: executors, queue, limits and functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from vera_supervisor.config.keys import key
from vera_supervisor.config.kinds import Amount, Choice, Each, Flag, Integer, Seconds, Size, Tiers
from vera_supervisor.config.texts import MODULE
from vera_worker.tasks import Isolation, Priority

_KIB: Final = 2**10
_MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Executor:
    """The child processes that run tasks, one task at a time each."""

    max_workers: int = key(
        4,
        Integer(1, 4096),
        "Executors at most, and so tasks that run at once.",
        env="MAX_WORKERS",
        reloadable=True,
    )
    min_workers: int = key(
        1,
        Integer(0, 4096),
        "Executors that are kept warm when there is nothing to do.",
        env="MIN_WORKERS",
        reloadable=True,
    )
    start_timeout: float = key(
        30.0,
        Seconds(positive=True),
        "Seconds that an executor may take to become ready.",
        reloadable=True,
    )
    idle_timeout: float = key(
        60.0,
        Seconds(),
        "Seconds without work after which an executor beyond min_workers is stopped.",
        reloadable=True,
    )
    growth_delay: float = key(
        0.05,
        Seconds(),
        "Seconds that a task waits for an executor before one more is started.",
        reloadable=True,
    )
    control_groups: bool = key(
        True,
        Flag(),
        "Whether executors get control groups where this worker may make them, or never.",
    )
    nice: int = key(
        5,
        Integer(0, 19),
        "How much executors give way to the supervisor, and to all else, where CPUs are scarce.",
    )
    max_tasks: int = key(
        0,
        Integer(0),
        "Tasks after which an executor is replaced by a fresh one; 0: never.",
        reloadable=True,
    )
    max_growth: int = key(
        512 * _MIB,
        Size(_MIB),
        "Memory by which an executor may grow after its first task before it is replaced.",
        reloadable=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """The tasks that wait for an executor."""

    size: int = key(
        100,
        Integer(1),
        "Queued tasks at most; more are refused until there is room.",
        env="QUEUE_SIZE",
        reloadable=True,
    )
    aging_step: float = key(
        60.0,
        Seconds(),
        "Seconds of waiting that are worth one class of priority; 0: strict order of classes.",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What tasks may use."""

    cpu_cores: float | None = key(
        None,
        Amount(4096),
        "Cores that this worker counts on at most; unset: all that it is allowed to use.",
        example=1.5,
    )
    memory: int | None = key(
        None,
        Size(_MIB),
        "Memory that this worker counts on at most; unset: all that it is allowed to use.",
        example="4GiB",
    )
    gpus: int = key(
        0,
        Integer(0, 1024),
        "GPUs that tasks may reserve by `requirements`; a task finds out itself which is free.",
    )
    max_cpu_percent: float = key(
        90.0,
        Amount(100),
        "Percentage of CPU use above which no further task starts.",
        env="MAX_CPU_PERCENT",
        reloadable=True,
    )
    max_memory_percent: float = key(
        85.0,
        Amount(100),
        "Percentage of memory use above which no further task starts.",
        env="MAX_MEMORY_PERCENT",
        reloadable=True,
    )
    task_timeout: float = key(
        300.0,
        Seconds(positive=True),
        "Seconds that an attempt may take where nothing else is said.",
        env="TASK_TIMEOUT",
        reloadable=True,
    )
    max_task_timeout: float = key(
        86400.0,
        Seconds(positive=True),
        "Seconds that a submission may ask for at most.",
        reloadable=True,
    )
    kill_grace: float = key(
        3.0,
        Seconds(),
        "Seconds between the polite stop of an attempt and SIGKILL.",
        reloadable=True,
    )
    task_memory: int | None = key(
        None,
        Size(_MIB),
        "Memory that an attempt may use with all its processes; unset: no limit.",
        env="TASK_MEMORY",
        example="512MiB",
        reloadable=True,
    )
    memory_tiers: tuple[int, ...] | None = key(
        None,
        Tiers(Size(_MIB)),
        "The same in steps: an attempt that needs more is followed by one with the next.",
        example=("512MiB", "2GiB"),
        reloadable=True,
    )
    task_processes: int = key(
        1024,
        Integer(8),
        "Processes and threads that an attempt may have, where a control group can count them.",
    )
    crash_retries: int = key(
        2,
        Integer(0, 1000),
        "Times that a task is run again after its executor crashed.",
        reloadable=True,
    )
    max_body: int = key(_MIB, Size(_KIB), "Size of the body of one request at most.")
    max_bodies: int = key(
        64 * _MIB, Size(_KIB), "Size of all large bodies that are on their way in, at most."
    )
    max_answers: int = key(
        256 * _MIB, Size(_KIB), "Size of all large answers that are on their way out, at most."
    )
    max_result: int = key(10 * _MIB, Size(), "Size of the result of one task at most, as JSON.")
    max_output: int = key(_MIB, Size(0), "Captured output that is kept of one attempt; 0: none.")


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionLimits:
    """What one function needs; a key that is not set leaves it to the function and `limits`."""

    timeout: float | None = key(
        None,
        Seconds(positive=True),
        "Seconds that an attempt may take.",
        example=120,
        reloadable=True,
    )
    memory: int | None = key(
        None,
        Size(_MIB),
        "Memory that an attempt may use with all its processes.",
        example="1GiB",
        reloadable=True,
    )
    memory_tiers: tuple[int, ...] | None = key(
        None,
        Tiers(Size(_MIB)),
        "The same in steps, from one attempt that needs more memory to the next.",
        example=("512MiB", "2GiB"),
        reloadable=True,
    )
    max_retries: int | None = key(
        None,
        Integer(0, 1000),
        "Times that it is run again after an exception or a timeout.",
        example=3,
        reloadable=True,
    )
    retry_delay: float | None = key(
        None,
        Seconds(),
        "Seconds before the first of these, doubled for each further one.",
        example="5s",
        reloadable=True,
    )
    priority: Priority | None = key(
        None,
        Choice(Priority),
        "Class of submissions that name none: low, normal, high or critical.",
        example="high",
        reloadable=True,
    )
    max_concurrency: int | None = key(
        None,
        Integer(1),
        "Attempts that may run at once.",
        example=2,
        reloadable=True,
    )
    isolation: Isolation | None = key(
        None,
        Choice(Isolation),
        "How far attempts are kept apart: pooled, fresh (an executor each) or sandboxed.",
        example="fresh",
        reloadable=True,
    )
    network: bool | None = key(
        None,
        Flag(),
        "Whether a sandboxed attempt may use the network.",
        example=False,
        reloadable=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tasks:
    """Which functions can be called."""

    modules: tuple[str, ...] = key(
        ("vera_executor.demo",),
        Each(MODULE),
        "Modules whose public functions can be called.",
        env="TASK_MODULES",
        reloadable=True,
    )
    functions: Mapping[str, FunctionLimits] = field(default_factory=dict)
