"""What would become of a submission: `POST /task/submit?dry_run=1`. Nothing is stored or queued.

What would be refused is refused here, in the same words and with the same status.
"""

from vera_supervisor.api.schemas import RehearsedLimits, RehearsedTask
from vera_supervisor.api.services import Services
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.arrivals import conflict
from vera_supervisor.scheduling.effects import Refuse
from vera_supervisor.scheduling.waiting import Blocked, Outlook
from vera_worker.lifecycle import Status
from vera_worker.tasks import Task

_MIB = 1024 * 1024


async def rehearse(submission: ev.Submitted, services: Services) -> RehearsedTask:
    """Return what would become of it; raise the Problem that it would get."""
    task = submission.task
    stored = await services.dispatcher.records.get(task.task_id)
    if stored is not None and stored.ended:
        if stored.task.digest != task.digest:
            raise services.problem_of(conflict(task))
        return RehearsedTask(stored.status, task.task_id, None, None, None, _limits(task, services))
    outlook = await services.dispatcher.outlook(submission)
    if isinstance(outlook, Refuse):
        raise services.problem_of(outlook, stays=False)
    return RehearsedTask(
        status=Status.QUEUED if stored is None else stored.status,
        task_id=task.task_id,
        position=outlook.position,
        blocked_by=outlook.blocked_by,
        starts_in_s=_starts_in(outlook, submission, services),
        limits=_limits(task, services),
    )


def _starts_in(outlook: Outlook, submission: ev.Submitted, services: Services) -> float | None:
    """Return the seconds until it would start; None where nobody can know."""
    match outlook.blocked_by:
        case None:
            return 0.0
        case Blocked.DELAY:
            return submission.delay_s
        case Blocked.EXECUTORS if outlook.position is not None:
            drain_rate = services.dispatcher.drain_rate_of(submission.task)
            rate = drain_rate.per_second(services.clock.now())
            return outlook.position / rate if rate > 0 else None
        case _:
            return None


def _limits(task: Task, services: Services) -> RehearsedLimits:
    policy = services.dispatcher.scheduler.policy
    memory_bytes = policy.memory_bytes(task)
    return RehearsedLimits(
        priority=task.priority,
        timeout=task.timeout_s,
        max_retries=task.max_retries,
        retry_delay=task.retry_delay_s,
        memory_mb=None if memory_bytes is None else memory_bytes / _MIB,
        max_concurrency=policy.max_concurrency.get(task.function),
        at_most_once=task.function in policy.at_most_once,
    )
