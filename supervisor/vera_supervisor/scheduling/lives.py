"""The tasks that have not ended, and each move that one of them makes. Pure.

A task waits, starts in an executor, and ends or waits again. Whatever it holds meanwhile, of the
worker or of the machine, is taken and given back here and nowhere else.
"""

import math
from random import Random

from vera_supervisor.scheduling.admission import Admission
from vera_supervisor.scheduling.certificates import EXPIRED, over_memory, stopped, with_tail
from vera_supervisor.scheduling.effects import Assign, Effect, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.scheduling.expiries import Expiries
from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.policy import Policy
from vera_supervisor.scheduling.pools import Pool, Pools
from vera_supervisor.scheduling.retry import delay_before_next
from vera_supervisor.scheduling.slot import Slot
from vera_supervisor.scheduling.waiting import Rules, Waiting
from vera_worker.lifecycle import CANCEL, FAIL, QUEUED, REQUEUE, RUNNING, START, Move, after
from vera_worker.tasks import Cause, Failure, Task


class Lives:
    """Owns all live tasks, what they wait for, and the pools of executors."""

    def __init__(self, policy: Policy, rng: Random) -> None:
        self.waiting = Waiting(policy.aging_step_s, policy.pools)
        self.pools = Pools(policy.pools, self.waiting.lines)
        #: Those of all pools.
        self.slots = self.pools.slots
        #: Rings no later than TimePassed will next be of use, and once that came, just then.
        self.alarm = self.slots.alarm
        self.admission = Admission(policy.ceilings)
        self.live: dict[str, LiveTask] = {}
        self.expiries = Expiries(self.live)
        #: How many tasks run now.
        self.running = 0
        #: How many tasks wait, wherever that is, or are being stored.
        self.queued = 0
        self._careful_starts = 0
        #: Starts that have to be on disk before their tasks are sent off, by task.
        self._unsent: dict[str, StartAttempt] = {}
        self._rng = rng
        self.obey(policy)

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

    # Waiting.

    def _wait(self, live: LiveTask, ready_at: float, now: float, arrived_at: float) -> None:
        if ready_at <= now:
            self.waiting.enqueue(live, arrived_at)
        else:
            self._delay(live, ready_at)

    def _delay(self, live: LiveTask, until: float) -> None:
        self.waiting.delay(live, until)
        self.alarm.set(until)

    def _watch(self, live: LiveTask) -> None:
        """A task begins to wait: it fails once it may not start any more."""
        if live.expires_at < math.inf:
            self.expiries.watch(live)
            self.alarm.set(live.expires_at)

    def _expire(self, now: float) -> list[Effect]:
        """Fail all that may not start any more, wherever they wait."""
        effects: list[Effect] = []
        for live in self.expiries.expired(now):
            self.waiting.leave(live)
            effects.append(self._finish(live, FAIL, None, EXPIRED, b""))
        self.alarm.set(self.expiries.next_at)
        return effects

    # Starting.

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
        start = StartAttempt(task.task_id, live.attempt, live.spent, acknowledge=stored_first)
        effects.append(start)
        if stored_first:
            self._unsent[task.task_id] = start
        else:
            effects.append(self._assign(slot, live))

    def _assign(self, slot: Slot, live: LiveTask) -> Effect:
        live.memory_bytes = memory_bytes = self.policy.memory_bytes(live.task, live.spent)
        sandbox = self.policy.sandboxes.get(live.task.function)
        return Assign(slot.slot_id, live.task, live.attempt, memory_bytes, sandbox)

    # Ending.

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
        if live.expires_at <= now:
            self._watch(live)  # it was let go while it ran
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

    def _leave_slot(self, live: LiveTask) -> None:
        if self._unsent:
            self._unsent.pop(live.task.task_id, None)
        live.slot_id = None
        self.running -= 1
        self.waiting.end(live)
        self.admission.ended()

    # Counting, and finding.

    def _count(self, task: Task, change: int) -> None:
        """Count so many more waiting tasks, or fewer."""
        self.queued += change
        if len(self.pools.all) > 1:
            self._pool_of(task).queued += change

    def _count_anew(self) -> None:
        """Count again: functions may belong to other pools than before."""
        if len(self.pools.all) > 1:
            for pool in self.pools.all:
                pool.queued = 0
            for live in self.live.values():
                self._pool_of(live.task).queued += live.status is QUEUED

    def _slot_of(self, live: LiveTask) -> Slot:
        assert live.slot_id is not None, live
        slot = self.slots.get(live.slot_id)
        assert slot is not None, live
        assert slot.task_id == live.task.task_id, (slot, live)
        return slot

    def _pool_of(self, task: Task) -> Pool:
        return self.pools.by_name[self.waiting.line_of(task.function).pool]
