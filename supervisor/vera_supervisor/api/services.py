"""What the routes work with: the parts of the worker, put together by the composition root."""

from dataclasses import dataclass

from vera_supervisor.api.answers import PoolOut
from vera_supervisor.api.problems import STATUS_OF_REFUSAL, Problem
from vera_supervisor.api.schemas import RecordOut, record_out
from vera_supervisor.catalogue import Catalogue
from vera_supervisor.clock import Clock
from vera_supervisor.config import Config
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.feed import Feed
from vera_supervisor.health import Health, PoolSigns, Signs, assess, makes_progress
from vera_supervisor.host import Host
from vera_supervisor.housekeeping import Pulse, StoreWatch
from vera_supervisor.metrics import Gauges, Metrics
from vera_supervisor.pool.cgroups import Enforcement
from vera_supervisor.reloading import Reloader
from vera_supervisor.scheduling.attempts import LOSSES
from vera_supervisor.scheduling.effects import Refuse
from vera_supervisor.scheduling.slot import SlotState
from vera_supervisor.scheduling.waiting import Blocked
from vera_supervisor.store.protocol import Store
from vera_worker.task_ids import made_at
from vera_worker.tasks import Priority, Record

_BUSY = (SlotState.BUSY, SlotState.STOPPING)
_SERVING = (SlotState.IDLE, SlotState.CHECKING, *_BUSY)


@dataclass(kw_only=True, slots=True)
class Services:
    """The running worker, as its API sees it."""

    #: The one in force: a reload puts another one here.
    config: Config
    dispatcher: Dispatcher
    store: Store
    catalogue: Catalogue
    metrics: Metrics
    host: Host
    pulse: Pulse
    store_watch: StoreWatch
    clock: Clock
    reloader: Reloader
    #: Who holds tasks to their limits on this machine.
    enforcement: Enforcement
    #: When it started, on the monotonic clock.
    started_at: float

    @property
    def feed(self) -> Feed:
        """What happens to tasks."""
        return self.dispatcher.journal.feed

    def shown(self, record: Record) -> RecordOut:
        """Return a record as clients see it, with what is known of a live task besides."""
        worker_id, scheduler = self.config.worker.id, self.dispatcher.scheduler
        live = None if record.ended else scheduler.live.get(record.task.task_id)
        if live is None:
            return record_out(record, worker_id)
        return record_out(
            record,
            worker_id,
            progress=live.progress,
            position=scheduler.position(live),
            blocked_by=scheduler.blocked_by(live),
        )

    def problem_of(self, refuse: Refuse, *, stays: bool = True) -> Problem:
        """Return what a client is told of a refusal; not `stays`: of one that it only asked for."""
        status, wait = STATUS_OF_REFUSAL[refuse.refusal], None
        if status in (429, 503):
            wait = self.dispatcher.retry_after(refuse.pool, stays=stays)
        return Problem(status, refuse.detail, field=refuse.field, retry_after=wait)

    def found(self, record: Record | None, task_id: str) -> Record:
        """Return the record that was looked for; raise the Problem where there is none."""
        if record is None:
            raise self.unknown(task_id)
        return record

    def unknown(self, task_id: str) -> Problem:
        """Return what a client is told of a task that there is not, or not any more."""
        made, ttl_s = made_at(task_id), self.config.store.result_ttl
        if made is None or self.clock.wall() <= made + ttl_s:
            return Problem(404, f"there is no task {task_id!r}")
        # It was accepted, or nobody would have its id; and it has ended, or we would have it.
        detail = f"task {task_id!r} ended, and is kept no longer: store.result_ttl is {ttl_s:g} s"
        return Problem(410, detail)

    def health(self) -> Health:
        """Return how the worker stands now."""
        return assess(self._signs())

    def makes_progress(self) -> bool:
        """Return whether the worker makes progress, as its watchdog is to know."""
        return makes_progress(self._signs())

    def _signs(self) -> Signs:
        scheduler = self.dispatcher.scheduler
        last = scheduler.slots.last_sign_of_life
        return Signs(
            draining=scheduler.draining,
            loop_lag_s=self.pulse.loop_lag_s,
            pools=tuple(
                PoolSigns(
                    name=pool.name,
                    serving=sum(slot.state in _SERVING for slot in pool.roster),
                    min_workers=pool.roster.size.min_workers,
                    failed_starts=pool.roster.failed_starts,
                    replaced=last is not None
                    and any(slot.state is SlotState.STARTING for slot in pool.roster),
                )
                for pool in scheduler.pools
            ),
            busy_executors=sum(slot.state in _BUSY for slot in scheduler.slots),
            quiet_s=None if last is None else self.clock.now() - last,
            check_interval_s=scheduler.policy.limits.check_interval_s,
            queue_full=scheduler.queued >= scheduler.policy.queue_size,
            store_fault=self.store.fault,
            store_silent_s=self.store_watch.silent_s,
            unknown_functions=scheduler.waiting.unknown(),
            held_back=self._held_back(),
            standstill=scheduler.admission.standstill,
        )

    def _held_back(self) -> str | None:
        """Return why tasks may not start as they come, in one clause."""
        admission, usage = self.dispatcher.scheduler.admission, self.host.usage
        match admission.reason:
            case Blocked.CPU:
                most = admission.ceilings.max_cpu_percent
                return (
                    f"CPU use is {usage.cpu_percent:g} %: "
                    f"limits.max_cpu_percent = {most:g} holds tasks back"
                )
            case Blocked.MEMORY:
                most = admission.ceilings.max_memory_percent
                return (
                    f"memory use is {usage.memory_percent:g} %: "
                    f"limits.max_memory_percent = {most:g} holds tasks back"
                )
            case _:
                return None

    @property
    def max_executors(self) -> int:
        """How many tasks can run at once, in all pools together."""
        return sum(pool.roster.size.max_workers for pool in self.dispatcher.scheduler.pools)

    def pools(self) -> dict[str, PoolOut]:
        """Return how each pool stands."""
        return {
            pool.name: PoolOut(
                max_workers=pool.roster.size.max_workers,
                queued=pool.queue.length,
                executors=pool.roster.counts(),
            )
            for pool in self.dispatcher.scheduler.pools
        }

    def gauges(self) -> Gauges:
        """Return what Prometheus is to know of this moment."""
        scheduler = self.dispatcher.scheduler
        lengths = zip(Priority, scheduler.waiting.lengths(), strict=True)
        return Gauges(
            active_tasks=scheduler.running,
            queue_size={priority.value: length for priority, length in lengths},
            executors=scheduler.slots.counts(),
            executor_losses={cause.value: scheduler.losses[cause] for cause in LOSSES},
            pool_executors={
                (pool.name, state): count
                for pool in scheduler.pools
                for state, count in pool.roster.counts().items()
            },
            pool_queue_size={pool.name: pool.queue.length for pool in scheduler.pools},
            admission_blocked={
                Blocked.DRAINING: int(scheduler.draining),
                Blocked.CPU: int(scheduler.admission.reason is Blocked.CPU),
                Blocked.MEMORY: int(scheduler.admission.reason is Blocked.MEMORY),
                Blocked.RESERVATION: int(scheduler.waiting.crowded),
            },
            event_loop_lag_s=self.pulse.worst_lag_s,
            cpu_percent=self.host.usage.cpu_percent,
            memory_percent=self.host.usage.memory_percent,
        )
