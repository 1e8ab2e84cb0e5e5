"""What the configuration says about tasks and executors, as the scheduler goes by it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from vera_supervisor.scheduling.admission import Ceilings
from vera_supervisor.scheduling.pools import PoolPolicy
from vera_supervisor.scheduling.slot import Limits
from vera_worker.tasks import DEFAULT_POOL, Sandbox, Spent, Task

_MIB: Final = 1024 * 1024
_NOTHING_SPENT: Final = Spent()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about tasks and executors."""

    #: All pools by name, and which functions run in another one than the default pool.
    pools: Mapping[str, PoolPolicy]
    routes: Mapping[str, str] = {}
    queue_size: int
    ceilings: Ceilings = Ceilings()
    #: Seconds that one class of priority is worth; 0: strict.
    aging_step_s: float
    crash_retries: int
    #: Functions that must never be started twice.
    at_most_once: frozenset[str] = frozenset()
    #: Attempts that may run at once, by the functions for which that is limited.
    max_concurrency: Mapping[str, int] = {}
    #: Functions whose attempts run in an executor each, which has had no other task and gets none.
    alone: frozenset[str] = frozenset()
    #: How attempts are confined, by those of them for which they are.
    sandboxes: Mapping[str, Sandbox] = {}
    #: Bytes that an attempt may use with all its processes: in general, and by function. Of several
    #: numbers each is for the attempt after one that needed more; none: no limit.
    task_memory: tuple[int, ...] = ()
    memory: Mapping[str, tuple[int, ...]] = {}
    #: The functions that the executors offer; None while that is not known.
    functions: frozenset[str] | None = None

    @property
    def limits(self) -> Limits:
        """How long executors may take: those of the default pool; others only start slower."""
        return self.pools[DEFAULT_POOL].limits

    def memory_tiers(self, task: Task) -> tuple[int, ...]:
        """Return what attempts of that task may use, one after the other; none: no limit."""
        need = task.requirements
        if need is not None and need.memory_mb is not None:
            return (int(need.memory_mb * _MIB),)
        return self.memory.get(task.function, self.task_memory)

    def memory_bytes(self, task: Task, spent: Spent = _NOTHING_SPENT) -> int | None:
        """Return what the next attempt of a task may use that has spent so much; None: no limit."""
        tiers = self.memory_tiers(task)
        return tiers[min(spent.memory_tiers, len(tiers) - 1)] if tiers else None
