"""Whether an attempt that ended badly is followed by another one, and when."""

from random import Random
from typing import Final

import msgspec

from vera_worker.tasks import Cause, Task

#: No delay between attempts exceeds this, however often they failed.
MAX_DELAY_S: Final = 3600.0
#: A crash is seldom the task's own doing: the first re-run comes soon.
CRASH_DELAY_S: Final = 0.1
_LEAST_JITTER: Final = 0.8
_MOST_JITTER: Final = 1.2

_FAULTS_OF_THE_TASK: Final = frozenset({Cause.EXCEPTION, Cause.TIMEOUT})
_LOSSES: Final = frozenset({Cause.CRASHED, Cause.WORKER_LOST})


class Budget(msgspec.Struct):
    """What one task has used up so far: its own failures and losses of its executor apart."""

    retries: int = 0
    crashes: int = 0


def delay_before_next(
    cause: Cause, task: Task, used: Budget, crash_retries: int, rng: Random
) -> float | None:
    """Return the seconds to wait before the next attempt, or None to give up.

    Charges `used` with the attempt. Running out of memory, a result that cannot be sent and a
    cancellation are final; an interruption by the worker costs nothing.
    """
    if cause is Cause.INTERRUPTED:
        return 0.0
    if cause in _FAULTS_OF_THE_TASK and used.retries < task.max_retries:
        used.retries += 1
        return _backoff(task.retry_delay_s, used.retries, rng)
    if cause in _LOSSES and used.crashes < crash_retries:
        used.crashes += 1
        return _backoff(CRASH_DELAY_S, used.crashes, rng)
    return None


def _backoff(base_s: float, failures: int, rng: Random) -> float:
    # Jitter keeps tasks that failed together from coming back together, at the cap as well.
    delay = base_s * 2.0 ** min(failures - 1, 60)
    return min(delay, MAX_DELAY_S / _MOST_JITTER) * rng.uniform(_LEAST_JITTER, _MOST_JITTER)
