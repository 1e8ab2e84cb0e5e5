"""The scheduler: every decision about tasks, and nothing else.

`step(event, now)` takes what happened and returns what shall be done. No clock, no I/O, no event
loop: the same events give the same effects, in a test, in a simulation and in production.

A task lives here from its submission until its end is stored:

    adding ──saved──▶ queued ──▶ running ──▶ finishing ──saved──▶ (gone)
                        ▲  ◀─retry─┘

Only what the store has confirmed is told to clients: that a task is accepted, and how it ended.

It is built in four layers, each on top of the one before: `lives` (the moves of a task), `attempts`
(what executors say), `arrivals` (how tasks come in), and here what joins them.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.arrivals import Arrivals, conflict
from vera_supervisor.scheduling.attempts import SAVE_AGAIN_S
from vera_supervisor.scheduling.certificates import CANCELLED_IN_QUEUE
from vera_supervisor.scheduling.effects import (
    AddTask,
    Announce,
    Effect,
    FinishTask,
    Refusal,
    Refuse,
    RequeueTask,
    StartAttempt,
)
from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.policy import Policy
from vera_supervisor.scheduling.waiting import Blocked, Outlook
from vera_worker.lifecycle import CANCEL, QUEUED, RUNNING
from vera_worker.tasks import Cause


class Scheduler(Arrivals):
    """Decides about all live tasks: `step` is the only way in."""

    def __init__(self, policy: Policy, rng: Random) -> None:
        super().__init__(policy, rng)
        #: No executor is started until work is resumed.
        self.stopping = False
        self._unsaved: deque[tuple[float, RequeueTask | FinishTask]] = deque()
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

    # What others may read.

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

    # What clients and the administrator ask for.

    def _cancel_asked(self, event: ev.CancelAsked, now: float) -> list[Effect]:
        live = self.live.get(event.task_id)
        if live is None or not live.added or live.status not in (QUEUED, RUNNING):
            return [Refuse(event.task_id, Refusal.TOO_LATE, "the task has ended")]
        if live.status is QUEUED:
            self.waiting.leave(live)
            return [self._finish(live, CANCEL, None, CANCELLED_IN_QUEUE, b"")]
        live.unwanted = True
        return self._slot_of(live).stop(Cause.CANCELLED, now, self.policy.limits)

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
            dump = slot.end_now(Cause.INTERRUPTED, now)
            effects += dump or self.pools.roster_of(slot).kill(slot, now)
        return effects

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
            case AddTask() as effect:
                return self._not_added(effect, event.reason)
            case StartAttempt() as effect:
                return self._start_not_stored(effect, event.reason, now)
            case FinishTask() | RequeueTask() as effect:
                # The outcome stands: it is offered again until the store takes it.
                self._unsaved.append((now + SAVE_AGAIN_S, effect))
                self.alarm.set(now + SAVE_AGAIN_S)
                return []

    def _still_to_save(self, effect: RequeueTask | FinishTask) -> bool:
        """Return whether writing `effect` now undoes nothing that was written since."""
        if type(effect) is FinishTask:
            return True
        live = self.live.get(effect.task_id)
        if live is None or live.status is not QUEUED:
            return False
        return live.attempt == effect.attempt

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

    # Time, and the machine.

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
        if not self.recovering:  # else they are not all where they wait
            effects += self._expire(now)
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
