"""Tasks, policies and settings with harmless defaults: a test says only what it is about."""

import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from hypothesis import settings

from vera_supervisor.scheduling.policy import Policy
from vera_supervisor.scheduling.pools import PoolPolicy
from vera_supervisor.scheduling.roster import Size
from vera_supervisor.scheduling.slot import Limits
from vera_worker.tasks import DEFAULT_POOL, Priority, Requirements, Task

#: The name of the one function that must never be started twice.
ONCE: Final = "pay"

#: The name of the one function whose attempts run in an executor each.
ALONE: Final = "untrusted"

#: The name of a pool, and of functions that run there; one of them in an executor each.
GPUS: Final = "gpus"
INFER: Final = "infer"
TRAIN: Final = "train"

#: What tasks may say that they need.
NEEDS: Final = (
    Requirements(cpu_cores=0.1),
    Requirements(cpu_cores=1.5, memory_mb=90.0),
    Requirements(memory_mb=600.0),
    Requirements(gpus=1),
)

#: Whether there is time for many more rounds.
TORTURE: Final = bool(os.environ.get("VERA_TORTURE"))


def rounds(examples: int, steps: int = 50) -> settings:
    """Return the same `examples` in every run; under torture many more, and others each time."""
    return settings(
        max_examples=examples * 100 if TORTURE else examples,
        stateful_step_count=steps,
    )


def make_task(task_id: str = "a", **changes: Any) -> Task:
    task = Task(
        task_id=task_id,
        function="work",
        payload=b"{}",
        priority=Priority.NORMAL,
        timeout_s=60.0,
        queued_at=1.0e9,
        retry_delay_s=1.0,
    )
    return msgspec.structs.replace(task, **changes)


def pool_policy(*, queue_size: int | None = None, **changes: Any) -> PoolPolicy:
    """Return the policy of one pool; a field of its `size` or `limits` can be named directly."""
    size: dict[str, Any] = {"min_workers": 0, "max_workers": 2, "idle_timeout_s": 1e6}
    size |= {"max_tasks": 0, "growth_delay_s": 0.0}
    limits = {"start_timeout_s": 30.0, "check_interval_s": 1e6, "kill_grace_s": 3.0}
    assert changes.keys() <= size.keys() | limits.keys()
    return PoolPolicy(
        size=Size(**{name: changes.get(name, value) for name, value in size.items()}),
        limits=Limits(**{name: changes.get(name, value) for name, value in limits.items()}),
        queue_size=queue_size,
    )


def make_policy(*, others: Mapping[str, PoolPolicy] = {}, **changes: Any) -> Policy:
    """Return a policy; what the default pool has can be named directly, `others` are beside it."""
    of_pool = changes.keys() & {*Size.__struct_fields__, *Limits.__struct_fields__}
    usual = pool_policy(**{name: changes.pop(name) for name in of_pool})
    policy: dict[str, Any] = {
        "pools": {DEFAULT_POOL: usual, **others},
        "queue_size": 100,
        "aging_step_s": 60.0,
        "crash_retries": 2,
        "at_most_once": frozenset({ONCE}),
        "alone": frozenset({ALONE, TRAIN}),
    }
    return Policy(**policy | changes)


def gpu_pool(**changes: Any) -> dict[str, Any]:
    """Return what makes a policy have a pool of its own for some functions."""
    return {"others": {GPUS: pool_policy(**changes)}, "routes": {INFER: GPUS, TRAIN: GPUS}}
