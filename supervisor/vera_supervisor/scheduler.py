"""The scheduler: every decision about tasks, and nothing else.

`step(event, now)` takes what happened and returns what shall be done. No clock, no I/O, no event
loop: the same events give the same effects, in a test, in a simulation and in production.

A task lives here from its submission until its end is stored:

    adding ──saved──▶ queued ──▶ running ──▶ finishing ──saved──▶ (gone)
                        ▲  ◀─retry─┘

Only what the store has confirmed is told to clients: that a task is accepted, and how it ended.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from vera_supervisor import events as ev
from vera_supervisor.effects import (
    Accept,
    AddTask,
    Announce,
    Assign,
    Effect,
    FinishTask,
    Refusal,
    Refuse,
    RequeueTask,
    StartAttempt,
)
from vera_supervisor.priority_queue import PriorityQueue
from vera_supervisor.retry import delay_before_next
from vera_supervisor.roster import Roster, Size
from vera_supervisor.slot import Limits, Slot, SlotState
from vera_worker.lifecycle import Move, Status, after
from vera_worker.tasks import RANK, Cause, Failure, Priority, Progress, Record, Spent, Task

#: A write that the store refused is tried again after this.
SAVE_AGAIN_S: Final = 1.0
#: So many cancelled tasks among the delayed ones are not worth clearing away.
_FEW: Final = 64
#: Longest piece of a task's output in its death certificate.
OUTPUT_TAIL_BYTES: Final = 4096


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about tasks and executors."""

    size: Size
    limits: Limits
    queue_size: int
    #: Seconds that one class of priority is worth; 0: strict.
    aging_step_s: float
    crash_retries: int
    #: Functions that must never be started twice.
    at_most_once: frozenset[str] = frozenset()


class LiveTask(msgspec.Struct, kw_only=True):
    """A task that has not ended, or whose end is not stored yet."""

    task: Task
    status: Status = Status.QUEUED
    #: False until the store has it; it is no one's business before.
    added: bool = False
    attempt: int = 0
    spent: Spent = Spent()
    #: Its key in the queue; None while it is not there.
    key: float | None = None
    #: The key that it had there last.
    place: float = 0.0
    #: Where it waits for a delay to pass: until then.
    delayed_until: float | None = None
    expires_at: float = math.inf
    slot_id: int | None = None
    accepted_at: float = 0.0
    started_at: float | None = None
    #: Seconds that its last attempt took, once that has ended.
    ran_s: float | None = None
    #: A client wants it to end: it is not tried again.
    unwanted: bool = False
    progress: Progress | None = None
    #: How its last attempt ended, if badly.
    failure: Failure | None = None

    @property
    def told(self) -> Status:
        """What clients may know: an end only once it is stored, and then the task is not here."""
        return Status.QUEUED if self.status is Status.QUEUED else Status.RUNNING


class Scheduler:
    """Owns all live tasks, the queue and the roster of executors."""

    def __init__(self, policy: Policy, rng: Random) -> None:
        self.policy = policy
        self.roster = Roster(policy.size, policy.limits)
        self.queue: PriorityQueue[LiveTask] = PriorityQueue(len(Priority), policy.aging_step_s)
        self.live: dict[str, LiveTask] = {}
        self.draining = False
        #: No executor is started until work is resumed.
        self.stopping = False
        #: Answers of attempts that had been given up; they change nothing.
        self.late_answers = 0
        self._rng = rng
        self._delayed: list[tuple[float, int, LiveTask]] = []
        self._delayed_count = 0
        self._unsaved: deque[tuple[float, RequeueTask | FinishTask]] = deque()
        self._adding = 0
        self._running = 0
        self._sequence = 0
        self._handlers: dict[type, Callable[[Any, float], list[Effect]]] = {
            ev.Submitted: self._submitted,
            ev.Saved: self._saved,
            ev.SaveFailed: self._save_failed,
            ev.CancelAsked: self._cancel_asked,
            ev.ExecutorReady: self._executor_ready,
            ev.ExecutorAnswered: self._executor_answered,
            ev.ExecutorLost: self._executor_lost,
            ev.AttemptReported: self._attempt_reported,
            ev.AttemptEnded: self._attempt_ended,
            ev.TimePassed: self._time_passed,
            ev.DrainAsked: self._drain_asked,
            ev.ResumeAsked: self._resume_asked,
            ev.InterruptAsked: self._interrupt_asked,
        }

    def step(self, event: ev.Event, now: float) -> list[Effect]:
        """Take in what happened at `now` and return what shall be done, in order."""
        effects = self._handlers[type(event)](event, now)
        if self.queue.length and self.roster.idle and not self.draining:
            self._dispatch(effects, now)
        if self.roster.can_grow and not self.stopping:
            effects += self.roster.grow(0 if self.draining else self.queue.length, now)
        return effects

    # What others may read.

    @property
    def running(self) -> int:
        """How many tasks run now."""
        return self._running

    @property
    def queued(self) -> int:
        """How many accepted tasks wait: in the queue, for a delay, or to be stored."""
        return self.queue.length + self._delayed_count + self._adding

    def position(self, live: LiveTask) -> int | None:
        """Return the place of a waiting task in the queue, from 1."""
        if live.key is None:
            return None
        return self.queue.position(RANK[live.task.priority], live.key)

    def blocked_by(self, live: LiveTask) -> str | None:
        """Return what keeps a waiting task from running."""
        if live.status is not Status.QUEUED:
            return None
        if self.draining:
            return "draining"
        return "executors" if live.delayed_until is None else "delay"

    def next_wakeup(self) -> float:
        """Return when TimePassed will next be of use; infinity for never."""
        nearest = self.roster.next_deadline()
        if self._delayed:
            nearest = min(nearest, self._delayed[0][0])
        if self._unsaved:
            nearest = min(nearest, self._unsaved[0][0])
        return nearest

    # Submission and cancellation.

    def _submitted(self, event: ev.Submitted, now: float) -> list[Effect]:
        task = event.task
        known = self.live.get(task.task_id)
        if known is not None:
            # While it is being stored, the answer to the first submission answers this one too.
            same = known.task.digest == task.digest
            return [] if same and not known.added else [self._known(known.task, task, known.told)]
        if self.draining:
            detail = "the worker is draining"
            return [Refuse(task.task_id, Refusal.DRAINING, detail, task.digest)]
        if self.queued >= self.policy.queue_size:
            detail = f"the queue is full ({self.policy.queue_size} tasks)"
            return [Refuse(task.task_id, Refusal.QUEUE_FULL, detail, task.digest)]
        self.live[task.task_id] = LiveTask(task=task, accepted_at=now)
        self._adding += 1
        return [AddTask(task, event.delay_s, event.expires_in_s)]

    def _added(self, effect: AddTask, event: ev.Saved, now: float) -> list[Effect]:
        live = self.live[effect.task.task_id]
        self._adding -= 1
        known = event.existing
        if known is not None and not _never_begun(known, live.task):
            del self.live[effect.task.task_id]
            return [self._known(known.task, effect.task, known.status)]
        live.added = True
        if effect.expires_in_s is not None:
            live.expires_at = live.accepted_at + effect.expires_in_s
        self._wait(live, live.accepted_at + effect.delay_s, now)
        position = self.position(live)
        before = known is not None
        return [Accept(live.task.task_id, Status.QUEUED, position, before, live.task.digest)]

    def _known(self, known: Task, task: Task, status: Status) -> Effect:
        if known.digest != task.digest:
            detail = f"another task has the id {task.task_id!r}; send a new id, or the same body"
            return Refuse(task.task_id, Refusal.CONFLICT, detail, task.digest)
        live = self.live.get(known.task_id)
        position = None if live is None else self.position(live)
        return Accept(known.task_id, status, position, known=True, digest=task.digest)

    def _cancel_asked(self, event: ev.CancelAsked, now: float) -> list[Effect]:
        live = self.live.get(event.task_id)
        if live is None or not live.added or live.status not in (Status.QUEUED, Status.RUNNING):
            return [Refuse(event.task_id, Refusal.TOO_LATE, "the task has ended")]
        if live.status is Status.QUEUED:
            self._leave_queue(live)
            failure = Failure(cause=Cause.CANCELLED, message="cancelled while it was queued")
            return [self._finish(live, Move.CANCEL, None, failure, b"")]
        live.unwanted = True
        return self._slot_of(live).stop(Cause.CANCELLED, now, self.policy.limits)

    # What the store says.

    def _saved(self, event: ev.Saved, now: float) -> list[Effect]:
        effect = event.effect
        if type(effect) is FinishTask:
            return [self._announce(effect)]
        if type(effect) is AddTask:
            return self._added(effect, event, now)
        if type(effect) is StartAttempt:
            return self._start_stored(effect, now)
        return []

    def _save_failed(self, event: ev.SaveFailed, now: float) -> list[Effect]:
        match event.effect:
            case AddTask(task=task):
                del self.live[task.task_id]
                self._adding -= 1
                return [Refuse(task.task_id, Refusal.STORE, event.reason, task.digest)]
            case StartAttempt() as effect:
                return self._start_not_stored(effect, event.reason, now)
            case FinishTask() | RequeueTask() as effect:
                # The outcome stands: it is written until the store takes it.
                self._unsaved.append((now + SAVE_AGAIN_S, effect))
                return []

    def _still_to_save(self, effect: RequeueTask | FinishTask) -> bool:
        """Return whether nothing was written of that task since that would undo `effect`."""
        if type(effect) is FinishTask:
            return True
        live = self.live.get(effect.task_id)
        if live is None or live.status is not Status.QUEUED:
            return False
        return live.attempt == effect.attempt

    def _start_stored(self, effect: StartAttempt, now: float) -> list[Effect]:
        """A task that may run only once is sent off when its start is on disk."""
        live = self.live.get(effect.task_id)
        if live is None or live.attempt != effect.attempt or live.status is not Status.RUNNING:
            return []
        slot = self._slot_of(live)
        if slot.state is SlotState.BUSY:
            return [Assign(slot.slot_id, live.task, live.attempt)]
        return self._not_sent(live, slot, now)

    def _not_sent(self, live: LiveTask, slot: Slot, now: float) -> list[Effect]:
        """A task was to stop before it was sent off: its executor is free, unless it is killed."""
        if slot.state is not SlotState.STOPPING or slot.why is None:
            return []
        failure = self._stopped(live, slot.why, None, now)
        self.roster.rest(slot, now)
        return self._end_badly(live, failure, b"", now)

    def _start_not_stored(self, effect: StartAttempt, reason: str, now: float) -> list[Effect]:
        live = self.live.get(effect.task_id)
        if live is None or live.attempt != effect.attempt or live.status is not Status.RUNNING:
            return []
        if not effect.acknowledge:
            return []  # it runs already, and its end will be stored
        slot = self._slot_of(live)
        if slot.state is not SlotState.BUSY:
            return self._not_sent(live, slot, now)
        self.roster.rest(slot, now)
        failure = Failure(cause=Cause.INTERRUPTED, message=f"its start was not stored: {reason}")
        return [self._try_again(live, failure, SAVE_AGAIN_S, b"", now)]

    def _announce(self, effect: FinishTask) -> Effect:
        live = self.live.pop(effect.task_id)
        started = live.started_at
        waited_s = None if started is None else started - live.accepted_at
        return Announce(live.task, effect.status, effect.failure, waited_s, live.ran_s)

    # What executors say.

    def _executor_ready(self, event: ev.ExecutorReady, now: float) -> list[Effect]:
        slot = self.roster.get(event.slot_id)
        if slot is not None and slot.state is SlotState.STARTING:
            self.roster.rest(slot, now)
        return []

    def _executor_answered(self, event: ev.ExecutorAnswered, now: float) -> list[Effect]:
        slot = self.roster.get(event.slot_id)
        if slot is not None:
            self.roster.answered(slot, now)
        return []

    def _attempt_reported(self, event: ev.AttemptReported, now: float) -> list[Effect]:
        slot = self.roster.get(event.slot_id)
        if slot is not None and slot.runs(event.task_id, event.attempt):
            self.live[event.task_id].progress = event.progress
        return []

    def _attempt_ended(self, event: ev.AttemptEnded, now: float) -> list[Effect]:
        slot = self.roster.get(event.slot_id)
        if slot is None or not slot.runs(event.task_id, event.attempt):
            self.late_answers += 1
            return []
        live, why = self.live[event.task_id], slot.why
        assert live.started_at is not None, live
        live.ran_s = now - live.started_at
        if event.unfit is None and not self.roster.overfull:
            self.roster.rest(slot, now)
            effects: list[Effect] = []
        else:
            effects = [self.roster.retire(slot, now)]
        if why is not None:
            failure = self._stopped(live, why, event.failure, now)
        elif event.failure is not None:
            failure = event.failure
        else:
            return [*effects, self._finish(live, Move.COMPLETE, event.result, None, event.output)]
        return effects + self._end_badly(live, failure, event.output, now)

    def _executor_lost(self, event: ev.ExecutorLost, now: float) -> list[Effect]:
        slot = self.roster.get(event.slot_id)
        if slot is None:
            return []
        self.roster.lost(slot, now)
        live = self.live.get(slot.task_id) if slot.task_id is not None else None
        if live is None or live.slot_id != slot.slot_id:
            return []
        assert live.started_at is not None, live
        live.ran_s = now - live.started_at
        lost = Failure(
            cause=Cause.CRASHED,
            message=event.message,
            exit_code=event.exit_code,
            signal=event.signal,
            stack=event.stack,
            duration_s=live.ran_s,
        )
        failure = lost if slot.why is None else self._stopped(live, slot.why, lost, now)
        return self._end_badly(live, failure, event.output, now)

    # Time.

    def _time_passed(self, event: ev.TimePassed, now: float) -> list[Effect]:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, live = heapq.heappop(self._delayed)
            if live.delayed_until is not None:  # else it was cancelled meanwhile
                self._delayed_count -= 1
                live.delayed_until = None
                self._enqueue(live, now)
        effects = self.roster.shrink(now) + self.roster.due(now)
        while self._unsaved and self._unsaved[0][0] <= now:
            effect = self._unsaved.popleft()[1]
            if self._still_to_save(effect):
                effects.append(effect)
        for slot in self.roster.given_up(now):
            message = "the executor was killed but does not vanish (uninterruptible sleep)"
            effects += self._executor_lost(ev.ExecutorLost(slot.slot_id, message), now)
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
        for slot in self.roster:
            if slot.state is SlotState.BUSY:
                slot.stop(Cause.INTERRUPTED, now, self.policy.limits)
            effects += self.roster.kill(slot, now)
        return effects

    # The life of a task.

    def _wait(self, live: LiveTask, ready_at: float, now: float) -> None:
        if ready_at <= now:
            self._enqueue(live, live.accepted_at if live.attempt == 0 else now)
            return
        live.delayed_until = ready_at
        self._delayed_count += 1
        self._sequence += 1
        heapq.heappush(self._delayed, (ready_at, self._sequence, live))

    def _enqueue(self, live: LiveTask, arrived_at: float) -> None:
        live.key = live.place = self.queue.push(live, RANK[live.task.priority], arrived_at)

    def _leave_queue(self, live: LiveTask) -> None:
        if live.key is not None:
            self.queue.remove(RANK[live.task.priority], live.key)
            live.key = None
        elif live.delayed_until is not None:
            live.delayed_until = None
            self._delayed_count -= 1
            if len(self._delayed) > 2 * self._delayed_count + _FEW:
                self._delayed = [
                    entry for entry in self._delayed if entry[2].delayed_until is not None
                ]
                heapq.heapify(self._delayed)

    def _dispatch(self, effects: list[Effect], now: float) -> None:
        while self.queue.length and self.roster.idle:
            live = self.queue.pop()
            live.key = None
            if live.expires_at <= now:
                failure = Failure(cause=Cause.EXPIRED, message="its time to start had passed")
                effects.append(self._finish(live, Move.FAIL, None, failure, b""))
            else:
                self._start(live, effects, now)

    def _start(self, live: LiveTask, effects: list[Effect], now: float) -> None:
        task, slot = live.task, self.roster.take_idle()
        live.status = after(live.status, Move.START)
        live.attempt += 1
        live.slot_id = slot.slot_id
        live.started_at = now
        live.ran_s = live.progress = None
        self._running += 1
        slot.assign(task.task_id, live.attempt, now, task.timeout_s)
        once = task.function in self.policy.at_most_once
        effects.append(StartAttempt(task.task_id, live.attempt, acknowledge=once))
        if not once:
            effects.append(Assign(slot.slot_id, task, live.attempt))

    def _stopped(self, live: LiveTask, why: Cause, seen: Failure | None, now: float) -> Failure:
        """Return the certificate of an attempt that we ended ourselves."""
        messages = {
            Cause.TIMEOUT: f"it did not end within its timeout of {live.task.timeout_s:g} s",
            Cause.CANCELLED: "cancelled while it ran",
            Cause.INTERRUPTED: "the worker stopped while it ran",
        }
        changes: dict[str, Any] = {"cause": why, "message": messages[why]}
        if why is Cause.TIMEOUT:
            changes["timeout_s"] = live.task.timeout_s
        if live.started_at is not None:
            changes["duration_s"] = now - live.started_at
        return msgspec.structs.replace(seen or Failure(cause=why, message=""), **changes)

    def _end_badly(
        self, live: LiveTask, failure: Failure, output: bytes, now: float
    ) -> list[Effect]:
        """An attempt ended with `failure`: try again or give up."""
        tail = output[-OUTPUT_TAIL_BYTES:].decode("utf-8", "replace")
        failure = msgspec.structs.replace(failure, output_tail=tail or None)
        live.failure = failure
        if live.unwanted:
            return [self._finish(live, Move.CANCEL, None, failure, output)]
        if live.task.function in self.policy.at_most_once:
            return [self._finish(live, Move.FAIL, None, failure, output)]
        crash_retries = self.policy.crash_retries
        next_ = delay_before_next(failure.cause, live.task, live.spent, crash_retries, self._rng)
        if next_ is None:
            return [self._finish(live, Move.FAIL, None, failure, output)]
        delay, live.spent = next_
        return [self._try_again(live, failure, delay, output, now)]

    def _try_again(
        self, live: LiveTask, failure: Failure, delay: float, output: bytes, now: float
    ) -> Effect:
        live.status = after(live.status, Move.REQUEUE)
        live.slot_id = None
        self._running -= 1
        if failure.cause is Cause.INTERRUPTED:
            live.attempt -= 1  # it was no fault of the task, which keeps its place
        if failure.cause is Cause.INTERRUPTED and not delay:
            live.key = self.queue.put_back(live, RANK[live.task.priority], live.place)
        else:
            self._wait(live, now + delay, now)
        return RequeueTask(live.task.task_id, live.attempt, failure, delay, output, live.spent)

    def _finish(
        self,
        live: LiveTask,
        move: Move,
        result: bytes | None,
        failure: Failure | None,
        output: bytes,
    ) -> Effect:
        if live.status is Status.RUNNING:
            self._running -= 1
        live.status = after(live.status, move)
        live.slot_id = None
        task_id = live.task.task_id
        return FinishTask(task_id, live.attempt, live.status, result, failure, output)

    def _slot_of(self, live: LiveTask) -> Slot:
        assert live.slot_id is not None, live
        slot = self.roster.get(live.slot_id)
        assert slot is not None, live
        assert slot.task_id == live.task.task_id, (slot, live)
        return slot


def _never_begun(known: Record, task: Task) -> bool:
    """Return whether `known` is a task that was stored although the store said it was not.

    Its client was refused, and now asks again: the task is taken up after all.
    """
    begun = known.status is not Status.QUEUED or known.attempt > 0
    return known.task.digest == task.digest and not begun
