"""The scheduler: every decision about tasks, and nothing else.

`step(event, now)` takes what happened and returns what shall be done. No clock, no I/O, no event
loop: the same events give the same effects, in a test, in a simulation and in production.

A task lives here from its submission until its end is stored:

    adding ──saved──▶ queued ──▶ running ──▶ finishing ──saved──▶ (gone)
                        ▲  ◀─retry─┘

Only what the store has confirmed is told to clients: that a task is accepted, and how it ended.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

import msgspec

from vera_supervisor import events as ev
from vera_supervisor.admission import Admission, Ceilings
from vera_supervisor.certificates import (
    CANCELLED_IN_QUEUE,
    EXPIRED,
    WORKER_LOST,
    crashed,
    dependency_failed,
    over_memory,
    start_not_stored,
    stopped,
    with_tail,
    with_use,
)
from vera_supervisor.dependencies import Dependent
from vera_supervisor.effects import (
    Accept,
    AddTask,
    Announce,
    Assign,
    Effect,
    FinishTask,
    Refusal,
    Refuse,
    Report,
    RequeueTask,
    StartAttempt,
)
from vera_supervisor.live_task import LiveTask
from vera_supervisor.pools import Pool, PoolPolicy, Pools
from vera_supervisor.recovery import Recovery
from vera_supervisor.retry import delay_before_next
from vera_supervisor.slot import Limits, Slot, SlotState
from vera_supervisor.waiting import Blocked, Outlook, Rules, Waiting
from vera_worker.lifecycle import (
    CANCEL,
    COMPLETE,
    FAIL,
    FAILED,
    QUEUED,
    REQUEUE,
    RUNNING,
    START,
    Move,
    Status,
    after,
)
from vera_worker.tasks import DEFAULT_POOL, Cause, Failure, Record, Sandbox, Spent, Task

#: A write that the store refused is tried again after this.
SAVE_AGAIN_S: Final = 1.0
#: So many starts are on disk before they begin once tasks of an earlier run were taken up: a task
#: that kills the worker at once would otherwise never be seen to have started.
CAREFUL_STARTS: Final = 256
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


#: What an executor can be lost to: its own death, and what it is killed for.
LOSSES: Final = (
    Cause.CRASHED,
    Cause.TIMEOUT,
    Cause.MEMORY,
    Cause.CANCELLED,
    Cause.INTERRUPTED,
)


class Scheduler:
    """Owns all live tasks, what they wait for, and the pools of executors."""

    def __init__(self, policy: Policy, rng: Random) -> None:
        self.waiting = Waiting(policy.aging_step_s, policy.pools)
        self.pools = Pools(policy.pools, self.waiting.lines)
        #: Those of all pools.
        self.slots = self.pools.slots
        #: Rings no later than TimePassed will next be of use; read after every event.
        self.alarm = self.slots.alarm
        self.admission = Admission(policy.ceilings)
        self.live: dict[str, LiveTask] = {}
        #: How many tasks run now.
        self.running = 0
        #: How many tasks wait, wherever that is, or are being stored.
        self.queued = 0
        self.draining = False
        #: No executor is started until work is resumed.
        self.stopping = False
        #: Answers of attempts that had been given up; they change nothing.
        self.late_answers = 0
        #: Executors that are gone without having been told to leave, by what ended them.
        self.losses: Counter[Cause] = Counter()
        self._careful_starts = 0
        #: Starts that have to be on disk before their tasks are sent off, by task.
        self._unsent: dict[str, StartAttempt] = {}
        self._rng = rng
        self._unsaved: deque[tuple[float, RequeueTask | FinishTask]] = deque()
        #: While tasks of an earlier run are taken up.
        self._recovery: Recovery | None = None
        self.obey(policy)
        self._handlers: dict[type, Callable[[Any, float], list[Effect]]] = {
            ev.Submitted: self._submitted,
            ev.Recovered: self._recovered,
            ev.Saved: self._saved,
            ev.SaveFailed: self._save_failed,
            ev.CancelAsked: self._cancel_asked,
            ev.ExecutorReady: self._executor_ready,
            ev.ExecutorAnswered: self._executor_answered,
            ev.ExecutorLost: self._executor_lost,
            ev.MemoryExceeded: self._memory_exceeded,
            ev.AttemptReported: self._attempt_reported,
            ev.AttemptEnded: self._attempt_ended,
            ev.TimePassed: self._time_passed,
            ev.LoadSeen: self._load_seen,
            ev.CapacitySeen: self._capacity_seen,
            ev.CodeReplaced: self._code_replaced,
            ev.DrainAsked: self._drain_asked,
            ev.ResumeAsked: self._resume_asked,
            ev.InterruptAsked: self._interrupt_asked,
        }

    def step(self, event: ev.Event, now: float) -> list[Effect]:
        """Take in what happened at `now` and return what shall be done, in order."""
        effects = self._handlers[type(event)](event, now)
        if type(event) is ev.Submitted:
            return effects  # it is in no queue before it is stored
        held, pools = self.draining or self._recovery is not None, self.pools.all
        for pool in pools:
            if pool.queue.ready and pool.roster.idle and not held:
                self._dispatch(effects, now)
                break
        for pool in pools:
            roster = pool.roster
            if pool.line.unused_awaited and not held:
                effects += pool.make_way(now)
            if roster.count < roster.size.max_workers and not self.stopping:
                effects += pool.grow(now, hold=held or not self.admission.open)
        return effects

    def obey(self, policy: Policy) -> None:
        """Go by `policy` from now on, which has the same pools.

        What it says about functions needs new executors: CodeReplaced is to follow at once.
        """
        self.policy = policy
        rules = Rules(policy.max_concurrency, policy.alone, policy.functions, policy.routes)
        self.waiting.obey(rules, self.live.values())
        self.admission.ceilings = policy.ceilings
        self.pools.obey(policy.pools)
        self._count_anew()

    # What others may read.

    @property
    def recovering(self) -> bool:
        """Whether tasks of an earlier run are still being taken up."""
        return self._recovery is not None

    def position(self, live: LiveTask) -> int | None:
        """Return the place of a waiting task in the queue, from 1."""
        return self.waiting.position(live)

    def blocked_by(self, live: LiveTask) -> Blocked | None:
        """Return what keeps a waiting task from running."""
        if live.status is not QUEUED:
            return None
        if self.draining:
            return Blocked.DRAINING
        blocked = self.waiting.blocked_by(live)
        return (self.admission.blocked or blocked) if blocked is Blocked.EXECUTORS else blocked

    def outlook(self, event: ev.Submitted, now: float) -> Outlook | Refuse:
        """Return what would become of a submission; nothing is done about it."""
        task = event.task
        known = self.live.get(task.task_id)
        if known is not None and known.task.digest == task.digest:
            return Outlook(self.position(known), self.blocked_by(known))
        refuse = self._refusal(event) if known is None else conflict(task)
        if refuse is not None:
            return refuse
        outlook = self.waiting.outlook(task, now, delayed=event.delay_s > 0)
        if outlook.blocked_by is not Blocked.EXECUTORS:
            return outlook
        pool = self._pool_of(task)
        at_once = self.admission.open and pool.roster.idle and not pool.queue.ready
        blocked = None if at_once else self.admission.blocked or Blocked.EXECUTORS
        return Outlook(outlook.position, blocked)

    def next_wakeup(self) -> float:
        """Return when TimePassed may next be of use; infinity for never.

        Once it comes, this says exactly when the next one will be of use.
        """
        return self.alarm.at

    # Submission and cancellation.

    def _submitted(self, event: ev.Submitted, now: float) -> list[Effect]:
        task = event.task
        known = self.live.get(task.task_id)
        if known is not None:
            # While it is being stored, the answer to the first submission answers this one too.
            same = known.task.digest == task.digest
            return [] if same and not known.added else [self._known(known.task, task, known.told)]
        refuse = self._refusal(event)
        if refuse is not None:
            return [refuse]
        self.live[task.task_id] = live = LiveTask(task=task, accepted_at=now)
        self._count(task, 1)
        if task.depends_on:
            self._depend(live, event.ended, now + event.delay_s)
        return [AddTask(task, event.delay_s, event.expires_in_s)]

    def _refusal(self, event: ev.Submitted) -> Refuse | None:
        """Return why a new task is not taken, if so."""
        task = event.task
        if self.draining:
            detail = "the worker is draining"
            return Refuse(task.task_id, Refusal.DRAINING, detail, task.digest)
        if self.queued >= self.policy.queue_size:
            detail = f"the queue is full ({self.policy.queue_size} tasks)"
            return Refuse(task.task_id, Refusal.QUEUE_FULL, detail, task.digest)
        pool = self._pool_of(task)
        if not pool.has_room():
            detail = f"the queue of the pool {pool.name} is full ({pool.queue_size} tasks)"
            full = Refusal.QUEUE_FULL
            return Refuse(task.task_id, full, detail, task.digest, pool=pool.name)
        for other in task.depends_on:
            if other not in self.live and other not in event.ended:
                detail = f"depends_on: there is no task {other!r}"
                return Refuse(task.task_id, Refusal.DEPENDENCY, detail, task.digest, "depends_on")
        if task.requirements is not None:
            excess = self.waiting.reservations.impossible(task.requirements)
            if excess is not None:
                field, what = excess
                detail = f"{field}: {what}"
                return Refuse(task.task_id, Refusal.IMPOSSIBLE, detail, task.digest, field)
        return None

    def _added(self, effect: AddTask, event: ev.Saved, now: float) -> list[Effect]:
        task = effect.task
        live = self.live[task.task_id]
        known = event.existing
        if known is not None and not _never_begun(known, task):
            forgotten = self._forget(live, known.status, now)
            return [self._known(known.task, task, known.status), *forgotten]
        live.added = True
        if effect.expires_in_s is not None:
            live.expires_at = live.accepted_at + effect.expires_in_s
        settled: list[Effect] = []
        if not task.depends_on:
            self._wait(live, live.accepted_at + effect.delay_s, now, live.accepted_at)
        elif (dependent := self.waiting.dependencies[task.task_id]).settled:
            settled = self._settle(dependent, now)
        position = self.waiting.position(live)
        before = known is not None
        return [Accept(task.task_id, QUEUED, position, before, task.digest), *settled]

    def _forget(self, live: LiveTask, status: Status, now: float) -> list[Effect]:
        """A submission came to nothing: a task of its id is none of ours, or `status` already."""
        task = live.task
        del self.live[task.task_id]
        self._count(task, -1)
        if task.depends_on:
            self.waiting.dependencies.remove(task.task_id)
        return self._tell_dependents(task.task_id, status, now)

    def _known(self, known: Task, task: Task, status: Status) -> Effect:
        if known.digest != task.digest:
            return conflict(task)
        live = self.live.get(known.task_id)
        position = None if live is None else self.position(live)
        return Accept(known.task_id, status, position, known=True, digest=task.digest)

    def _cancel_asked(self, event: ev.CancelAsked, now: float) -> list[Effect]:
        live = self.live.get(event.task_id)
        if live is None or not live.added or live.status not in (QUEUED, RUNNING):
            return [Refuse(event.task_id, Refusal.TOO_LATE, "the task has ended")]
        if live.status is QUEUED:
            self.waiting.leave(live)
            return [self._finish(live, CANCEL, None, CANCELLED_IN_QUEUE, b"")]
        live.unwanted = True
        return self._slot_of(live).stop(Cause.CANCELLED, now, self.policy.limits)

    # Tasks that an earlier run left.

    def _recovered(self, event: ev.Recovered, now: float) -> list[Effect]:
        if self._recovery is None:
            self._recovery = Recovery(now, event.wall)
        recovery, effects = self._recovery, list[Effect]()
        for record in event.records:
            live, ready_at = recovery.take_up(record)
            self.live[live.task.task_id] = live
            self._count(live.task, 1)
            if record.status is not RUNNING:
                effects += self._take_up_waiting(live, event, ready_at, now)
            elif self.waiting.is_unknown(live.task.function):
                self.waiting.park(live)  # may it be run again? Its function would tell
            else:
                effects += self._lost_with_the_worker(live, now)
        if not event.more:
            # All at once: so each comes to the end of its class, whatever order they were read in.
            for live in recovery.in_order():
                self.waiting.enqueue(live, live.place)
            self._recovery = None
            self._careful_starts = CAREFUL_STARTS
        return effects

    def _lost_with_the_worker(self, live: LiveTask, now: float) -> list[Effect]:
        """A task, now taken for one that waits, was running when the worker was lost."""
        self._count(live.task, -1)
        self.running += 1
        live.status = RUNNING
        self.waiting.begin(live)
        return self._end_badly(live, WORKER_LOST, b"", now)

    def _take_up_waiting(
        self, live: LiveTask, event: ev.Recovered, ready_at: float, now: float
    ) -> list[Effect]:
        assert self._recovery is not None
        if live.task.depends_on and not live.attempt:
            # One that the store has forgotten had ended well: else this task would have as well.
            dependent = self._depend(live, event.ended, ready_at)
            if not dependent.settled:
                return []
            if dependent.failed is not None:
                return self._settle(dependent, now)
            self.waiting.leave(live)
        if ready_at > now:
            self._delay(live, ready_at)
        else:
            self._recovery.line_up(live)
        return []

    # Tasks that depend on others.

    def _depend(self, live: LiveTask, ended: Mapping[str, Status], ready_at: float) -> Dependent:
        others = live.task.depends_on
        awaited = [task_id for task_id in others if task_id in self.live]
        dependent = self.waiting.dependencies.add(live, awaited, ready_at)
        for task_id in others:
            if task_id in ended and task_id not in self.live:
                dependent.learn(task_id, ended[task_id])
        return dependent

    def _tell_dependents(self, task_id: str, status: Status, now: float) -> list[Effect]:
        """Let those who waited for a task run, or fail, now that it has ended."""
        effects: list[Effect] = []
        for dependent in self.waiting.dependencies.ended(task_id, status):
            if dependent.live.added and dependent.settled:
                effects += self._settle(dependent, now)
        return effects

    def _settle(self, dependent: Dependent, now: float) -> list[Effect]:
        live = dependent.live
        self.waiting.leave(live)
        if dependent.failed is None:
            self._wait(live, dependent.ready_at, now, now)
            return []
        failure = dependency_failed(*dependent.failed)
        return [self._finish(live, FAIL, None, failure, b"")]

    # What the store says.

    def _saved(self, event: ev.Saved, now: float) -> list[Effect]:
        effect = event.effect
        if type(effect) is FinishTask:
            return self._announce(effect, now)
        if type(effect) is AddTask:
            return self._added(effect, event, now)
        if type(effect) is StartAttempt:
            return self._start_stored(effect, now)
        return []

    def _save_failed(self, event: ev.SaveFailed, now: float) -> list[Effect]:
        match event.effect:
            case AddTask(task=task):
                forgotten = self._forget(self.live[task.task_id], FAILED, now)
                refuse = Refuse(task.task_id, Refusal.STORE, event.reason, task.digest)
                return [refuse, *forgotten]
            case StartAttempt() as effect:
                return self._start_not_stored(effect, event.reason, now)
            case FinishTask() | RequeueTask() as effect:
                # The outcome stands: it is written until the store takes it.
                self._unsaved.append((now + SAVE_AGAIN_S, effect))
                self.alarm.set(now + SAVE_AGAIN_S)
                return []

    def _still_to_save(self, effect: RequeueTask | FinishTask) -> bool:
        """Return whether nothing was written of that task since that would undo `effect`."""
        if type(effect) is FinishTask:
            return True
        live = self.live.get(effect.task_id)
        if live is None or live.status is not QUEUED:
            return False
        return live.attempt == effect.attempt

    def _start_stored(self, effect: StartAttempt, now: float) -> list[Effect]:
        """A task whose start had to be on disk first is sent off."""
        live = self._awaiting(effect)
        if live is None:
            return []
        slot = self._slot_of(live)
        if slot.state is SlotState.BUSY:
            return [self._assign(slot, live)]
        return self._not_sent(live, slot, now)

    def _awaiting(self, effect: StartAttempt) -> LiveTask | None:
        """Return the task that waits for just this start to be stored, if it still does."""
        if self._unsent.get(effect.task_id) is not effect:
            return None
        del self._unsent[effect.task_id]
        return self.live[effect.task_id]

    def _not_sent(self, live: LiveTask, slot: Slot, now: float) -> list[Effect]:
        """A task was to stop before it was sent off: its executor is free, unless it is killed."""
        if slot.state is not SlotState.STOPPING or slot.why is None:
            return []
        failure = self._stopped(live, slot.why, None, now)
        freed = self.pools.roster_of(slot).release(slot, now)
        return freed + self._end_badly(live, failure, b"", now)

    def _start_not_stored(self, effect: StartAttempt, reason: str, now: float) -> list[Effect]:
        live = self._awaiting(effect)
        if live is None:
            return []  # or it runs already, and its end will be stored
        slot = self._slot_of(live)
        if slot.state is not SlotState.BUSY:
            return self._not_sent(live, slot, now)
        freed = self.pools.roster_of(slot).release(slot, now)
        failure = start_not_stored(reason)
        return [*freed, self._try_again(live, failure, SAVE_AGAIN_S, b"", now)]

    def _announce(self, effect: FinishTask, now: float) -> list[Effect]:
        live = self.live.pop(effect.task_id)
        started = live.started_at
        waited_s = None if started is None else started - live.accepted_at
        announce = Announce(
            live.task, effect.status, effect.failure, waited_s, live.ran_s, live.attempt
        )
        if effect.task_id not in self.waiting.dependencies.awaited:
            return [announce]
        return [announce, *self._tell_dependents(effect.task_id, effect.status, now)]

    # What executors say.

    def _executor_ready(self, event: ev.ExecutorReady, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is not None and slot.state is SlotState.STARTING:
            pool = self.pools.by_name[slot.pool]
            pool.roster.rest(slot, now)
            pool.line.await_unused(awaited=False)
        return []

    def _executor_answered(self, event: ev.ExecutorAnswered, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None:
            return []
        roster = self.pools.roster_of(slot)
        if event.unfit is not None and slot.state is SlotState.CHECKING:
            return [roster.retire(slot, now)]
        roster.answered(slot, now)
        return []

    def _attempt_reported(self, event: ev.AttemptReported, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is not None and slot.runs(event.task_id, event.attempt):
            live = self.live[event.task_id]
            live.progress = event.progress
            return [Report(live.task, live.attempt, event.progress)]
        return []

    def _memory_exceeded(self, event: ev.MemoryExceeded, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None or not slot.runs(event.task_id, event.attempt):
            return []
        self.live[event.task_id].peak_memory_mb = round(event.used_bytes / _MIB, 1)
        return slot.exceed(now)

    def _attempt_ended(self, event: ev.AttemptEnded, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None or not slot.runs(event.task_id, event.attempt):
            self.late_answers += 1
            return []
        live, why = self.live[event.task_id], slot.why
        assert live.started_at is not None, live
        live.ran_s = now - live.started_at
        if event.used is not None:
            self.waiting.habits.note(live.task.function, event.used, live.ran_s)
        effects: list[Effect] = []
        alone = live.task.function in self.policy.alone
        roster = self.pools.roster_of(slot)
        if event.unfit is None and not alone and roster.keeps(slot):
            roster.rest(slot, now)
        else:
            effects.append(roster.retire(slot, now))
        if why is not None:
            failure = with_use(self._stopped(live, why, event.failure, now), event.used)
        elif event.failure is not None:
            failure = event.failure
        else:
            effects.append(self._finish(live, COMPLETE, event.result, None, event.output))
            return effects
        return effects + self._end_badly(live, failure, event.output, now)

    def _executor_lost(self, event: ev.ExecutorLost, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None:
            return []
        if slot.state is not SlotState.RETIRING:
            self.losses[slot.why or Cause.CRASHED] += 1
        self.pools.roster_of(slot).lost(slot, now)
        live = self.live.get(slot.task_id) if slot.task_id is not None else None
        if live is None or live.slot_id != slot.slot_id:
            return []
        assert live.started_at is not None, live
        live.ran_s = now - live.started_at
        if event.excess_bytes is not None and slot.why is None:
            slot.why = Cause.MEMORY
            live.peak_memory_mb = round(event.excess_bytes / _MIB, 1)
        if event.used is not None:
            self.waiting.habits.note(live.task.function, event.used, live.ran_s)
        lost = crashed(event, live.ran_s)
        failure = lost if slot.why is None else self._stopped(live, slot.why, lost, now)
        return self._end_badly(live, failure, event.output, now)

    # Time.

    def _time_passed(self, event: ev.TimePassed, now: float) -> list[Effect]:
        self.waiting.due(now)
        effects = self.pools.due(now)
        while self._unsaved and self._unsaved[0][0] <= now:
            effect = self._unsaved.popleft()[1]
            if self._still_to_save(effect):
                effects.append(effect)
        for slot in self.pools.given_up(now):
            message = "the executor was killed but does not vanish (uninterruptible sleep)"
            effects += self._executor_lost(ev.ExecutorLost(slot.slot_id, message), now)
        self.pools.reset_alarm(now)
        if self.waiting.delayed:
            self.alarm.set(self.waiting.delayed[0][0])
        if self._unsaved:
            self.alarm.set(self._unsaved[0][0])
        return effects

    def _load_seen(self, event: ev.LoadSeen, now: float) -> list[Effect]:
        self.admission.look(event.load)
        return []

    def _capacity_seen(self, event: ev.CapacitySeen, now: float) -> list[Effect]:
        self.waiting.offer(event.capacity)
        executors = sum(pool.size.max_workers for pool in self.policy.pools.values())
        self.waiting.habits.offer(event.capacity, executors)
        return []

    def _code_replaced(self, event: ev.CodeReplaced, now: float) -> list[Effect]:
        effects = self.pools.renew(now)
        for live in self.waiting.unpark():
            effects += self._lost_with_the_worker(live, now)
        return effects

    def _drain_asked(self, event: ev.DrainAsked, now: float) -> list[Effect]:
        self.draining = True
        return []

    def _resume_asked(self, event: ev.ResumeAsked, now: float) -> list[Effect]:
        self.draining = self.stopping = False
        return []

    def _interrupt_asked(self, event: ev.InterruptAsked, now: float) -> list[Effect]:
        self.draining = self.stopping = True
        effects: list[Effect] = []
        for slot in self.slots:
            if slot.state is SlotState.BUSY:
                slot.stop(Cause.INTERRUPTED, now, self.policy.limits)
            effects += self.pools.roster_of(slot).kill(slot, now)
        return effects

    # The life of a task.

    def _wait(self, live: LiveTask, ready_at: float, now: float, arrived_at: float) -> None:
        if ready_at <= now:
            self.waiting.enqueue(live, arrived_at)
        else:
            self._delay(live, ready_at)

    def _delay(self, live: LiveTask, until: float) -> None:
        self.waiting.delay(live, until)
        self.alarm.set(until)

    def _dispatch(self, effects: list[Effect], now: float) -> None:
        while self.admission.room >= 1.0 and (pool := self.pools.next()) is not None:
            live = pool.queue.pop()
            live.key = None
            need = live.need
            if live.expires_at <= now:
                effects.append(self._finish(live, FAIL, None, EXPIRED, b""))
                pool.line.take_turns()
            elif need is not None and not self.waiting.reservations.fits(need):
                self.waiting.hold_back(live)
            elif (slot := self._slot_for(live.task, pool)) is not None:
                self._start(live, slot, effects, now)
            else:
                self.waiting.await_unused(live)  # and before another task takes the place:
                effects += pool.make_way(now)

    def _slot_for(self, task: Task, pool: Pool) -> Slot | None:
        """Return an idle executor that will do for a task; there is one at least that is idle."""
        if task.function in self.policy.alone:
            return pool.roster.take_unused()
        return pool.roster.take_idle()

    def _start(self, live: LiveTask, slot: Slot, effects: list[Effect], now: float) -> None:
        task = live.task
        live.status = after(live.status, START)
        if live.attempt:
            live.ran_s = live.progress = live.peak_memory_mb = None
        live.attempt += 1
        live.slot_id = slot.slot_id
        live.started_at = now
        self._count(task, -1)
        self.running += 1
        self.waiting.begin(live)
        self.admission.started()
        slot.assign(task.task_id, live.attempt, now, task.timeout_s)
        stored_first = live.spent.crashes > 0 or task.function in self.policy.at_most_once
        if self._careful_starts:
            self._careful_starts -= 1
            stored_first = True
        start = StartAttempt(task.task_id, live.attempt, acknowledge=stored_first)
        effects.append(start)
        if stored_first:
            self._unsent[task.task_id] = start
        else:
            effects.append(self._assign(slot, live))

    def _assign(self, slot: Slot, live: LiveTask) -> Effect:
        live.memory_bytes = memory_bytes = self.policy.memory_bytes(live.task, live.spent)
        sandbox = self.policy.sandboxes.get(live.task.function)
        return Assign(slot.slot_id, live.task, live.attempt, memory_bytes, sandbox)

    def _stopped(self, live: LiveTask, why: Cause, seen: Failure | None, now: float) -> Failure:
        """Return the certificate of an attempt that we ended ourselves."""
        ran_s = None if live.started_at is None else now - live.started_at
        if why is Cause.MEMORY:
            limit_bytes = live.memory_bytes
            assert limit_bytes is not None, live
            assert live.peak_memory_mb is not None, live
            return over_memory(seen, limit_bytes, live.peak_memory_mb, ran_s)
        return stopped(why, live.task, seen, ran_s)

    def _end_badly(
        self, live: LiveTask, failure: Failure, output: bytes, now: float
    ) -> list[Effect]:
        """An attempt ended with `failure`: try again or give up."""
        live.failure = failure = with_tail(failure, output)
        if live.unwanted:
            return [self._finish(live, CANCEL, None, failure, output)]
        if live.task.function in self.policy.at_most_once:
            return [self._finish(live, FAIL, None, failure, output)]
        next_ = delay_before_next(
            failure.cause,
            live.task,
            live.spent,
            self.policy.crash_retries,
            self._rng,
            memory_tiers=len(self.policy.memory_tiers(live.task)),
        )
        if next_ is None:
            return [self._finish(live, FAIL, None, failure, output)]
        delay, live.spent = next_
        return [self._try_again(live, failure, delay, output, now)]

    def _try_again(
        self, live: LiveTask, failure: Failure, delay: float, output: bytes, now: float
    ) -> Effect:
        live.status = after(live.status, REQUEUE)
        self._leave_slot(live)
        self._count(live.task, 1)
        if failure.cause is Cause.INTERRUPTED:
            live.attempt -= 1  # it was no fault of the task, which keeps its place
        if failure.cause is Cause.INTERRUPTED and not delay:
            self.waiting.put_back(live)
        else:
            self._wait(live, now + delay, now, now if live.attempt else live.accepted_at)
        return RequeueTask(live.task.task_id, live.attempt, failure, delay, output, live.spent)

    def _finish(
        self,
        live: LiveTask,
        move: Move,
        result: bytes | None,
        failure: Failure | None,
        output: bytes,
    ) -> Effect:
        if live.status is RUNNING:
            self._leave_slot(live)
        else:
            self._count(live.task, -1)
        live.status = after(live.status, move)
        task_id = live.task.task_id
        return FinishTask(task_id, live.attempt, live.status, result, failure, output)

    def _count(self, task: Task, change: int) -> None:
        """So many tasks more wait, or fewer."""
        self.queued += change
        if len(self.pools.all) > 1:
            self._pool_of(task).queued += change

    def _count_anew(self) -> None:
        """Functions may belong to other pools than before."""
        if len(self.pools.all) > 1:
            for pool in self.pools.all:
                pool.queued = 0
            for live in self.live.values():
                self._pool_of(live.task).queued += live.status is QUEUED

    def _pool_of(self, task: Task) -> Pool:
        return self.pools.by_name[self.waiting.line_of(task.function).pool]

    def _leave_slot(self, live: LiveTask) -> None:
        if self._unsent:
            self._unsent.pop(live.task.task_id, None)
        live.slot_id = None
        self.running -= 1
        self.waiting.end(live)
        self.admission.ended()

    def _slot_of(self, live: LiveTask) -> Slot:
        assert live.slot_id is not None, live
        slot = self.slots.get(live.slot_id)
        assert slot is not None, live
        assert slot.task_id == live.task.task_id, (slot, live)
        return slot


def conflict(task: Task) -> Refuse:
    """Return the refusal of a task whose id another one has."""
    detail = f"another task has the id {task.task_id!r}; send a new id, or the same body"
    return Refuse(task.task_id, Refusal.CONFLICT, detail, task.digest, "task_id")


def _never_begun(known: Record, task: Task) -> bool:
    """Return whether `known` is a task that was stored although the store said it was not.

    Its client was refused, and now asks again: the task is taken up after all.
    """
    begun = known.status is not QUEUED or known.attempt > 0
    return known.task.digest == task.digest and not begun
