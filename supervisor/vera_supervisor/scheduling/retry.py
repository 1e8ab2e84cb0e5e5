"""Whether an attempt that ended badly is followed by another one, and when."""

from random import Random
from typing import Final

from msgspec.structs import replace

from vera_worker.tasks import Cause, Spent, Task

#: No delay between attempts exceeds this, however often they failed.
MAX_DELAY_S: Final = 3600.0
#: A crash is seldom the task's own doing: the first re-run comes soon.
CRASH_DELAY_S: Final = 0.1
_LEAST_JITTER: Final = 0.8
_MOST_JITTER: Final = 1.2

_FAULTS_OF_THE_TASK: Final = frozenset({Cause.EXCEPTION, Cause.TIMEOUT})
_LOSSES: Final = frozenset({Cause.CRASHED, Cause.WORKER_LOST})


def delay_before_next(
    cause: Cause,
    task: Task,
    spent: Spent,
    crash_retries: int,
    rng: Random,
    *,
    memory_tiers: int = 1,
) -> tuple[float, Spent] | None:
    """Return the seconds to wait before the next attempt and what is spent then; None: give up.

    Running out of memory is final where there is no higher limit to try, of `memory_tiers` in all;
    a result that cannot be sent and a cancellation always are. An interruption by the worker costs
    nothing.
    """
    if cause is Cause.INTERRUPTED:
        return 0.0, spent
    if cause in _FAULTS_OF_THE_TASK and spent.retries < task.max_retries:
        spent = replace(spent, retries=spent.retries + 1)
        return _backoff(task.retry_delay_s, spent.retries, rng), spent
    if cause in _LOSSES and spent.crashes < crash_retries:
        spent = replace(spent, crashes=spent.crashes + 1)
        return _backoff(CRASH_DELAY_S, spent.crashes, rng), spent
    if cause is Cause.MEMORY and spent.memory_tiers + 1 < memory_tiers:
        return 0.0, replace(spent, memory_tiers=spent.memory_tiers + 1)
    return None


def longest_delay(task: Task, spent: Spent) -> float:
    """Return the most seconds that a task, with so much spent, was told to wait."""
    pauses = (
        _pause(task.retry_delay_s, spent.retries) if spent.retries else 0.0,
        _pause(CRASH_DELAY_S, spent.crashes) if spent.crashes else 0.0,
    )
    return max(pauses) * _MOST_JITTER


def _backoff(base_s: float, failures: int, rng: Random) -> float:
    # Jitter keeps tasks that failed together from coming back together, even at the cap.
    return _pause(base_s, failures) * rng.uniform(_LEAST_JITTER, _MOST_JITTER)


def _pause(base_s: float, failures: int) -> float:
    return min(base_s * 2.0 ** min(failures - 1, 60), MAX_DELAY_S / _MOST_JITTER)
