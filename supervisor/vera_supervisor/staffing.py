"""From the configured pools to what the scheduler and the executors have to know of them."""

import msgspec

from vera_supervisor.catalogue import Catalogue
from vera_supervisor.config import GPU_VARIABLE, Config, Pool
from vera_supervisor.pool.outfits import Outfit
from vera_supervisor.scheduling.pools import PoolPolicy
from vera_supervisor.scheduling.roster import Size
from vera_supervisor.scheduling.slot import Limits
from vera_worker.errors import VeraError
from vera_worker.tasks import DEFAULT_POOL


class UnfitPool(VeraError):
    """A pool is to run a function that no task module offers; the message says which."""


def pool_policies(config: Config) -> dict[str, PoolPolicy]:
    """Return how many executors each pool is to have, and how long they may take."""
    executor = config.executor
    usual = PoolPolicy(
        size=Size(
            min_workers=executor.min_workers,
            max_workers=executor.max_workers,
            idle_timeout_s=executor.idle_timeout,
            max_tasks=executor.max_tasks,
            growth_delay_s=executor.growth_delay,
        ),
        limits=Limits(
            start_timeout_s=executor.start_timeout,
            check_interval_s=config.health.check_interval,
            kill_grace_s=config.limits.kill_grace,
        ),
    )
    others = {name: _differing(usual, pool) for name, pool in config.pools.items()}
    return {DEFAULT_POOL: usual, **others}


def routes(config: Config) -> dict[str, str]:
    """Return the pools of the functions that do not run in the default one."""
    return {function: name for name, pool in config.pools.items() for function in pool.functions}


def outfits(config: Config) -> dict[str, Outfit]:
    """Return what the executors of each pool are given."""
    max_growth = config.executor.max_growth
    others = {
        name: Outfit(
            environment=pool.environment or {},
            gpu_variable=GPU_VARIABLE,
            gpus=pool.gpus,
            warm_up=pool.warm_up,
            max_growth=max_growth if pool.max_growth is None else pool.max_growth,
        )
        for name, pool in config.pools.items()
    }
    return {DEFAULT_POOL: Outfit(max_growth=max_growth), **others}


def warm_ups(config: Config) -> tuple[str, ...]:
    """Return the names of all functions by which pools warm up."""
    return tuple(pool.warm_up for pool in config.pools.values() if pool.warm_up is not None)


def check_functions(config: Config, catalogue: Catalogue) -> None:
    """Raise UnfitPool where a pool has a function that there is not."""
    for function, pool in sorted(routes(config).items()):
        if function not in catalogue.names:
            raise UnfitPool(f"pools.{pool}.functions: {catalogue.missing(function)}")


def _differing(usual: PoolPolicy, pool: Pool) -> PoolPolicy:
    said = {
        "idle_timeout_s": pool.idle_timeout,
        "max_tasks": pool.max_tasks,
    }
    size = msgspec.structs.replace(
        usual.size,
        min_workers=pool.min_workers,
        max_workers=pool.max_workers,
        **{name: value for name, value in said.items() if value is not None},
    )
    limits = usual.limits
    if pool.start_timeout is not None:
        limits = msgspec.structs.replace(limits, start_timeout_s=pool.start_timeout)
    return PoolPolicy(size=size, limits=limits, queue_size=pool.queue_size)
