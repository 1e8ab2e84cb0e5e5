"""Clients, a store, executors and a clock around a scheduler, all of them unreliable.

The world lets happen what it is told, keeps books of its own, and has the scheduler checked against
them after every single step.
"""

from collections import Counter, deque
from random import Random
from typing import Any

import msgspec

from tests.fakes.makers import ONCE, make_policy
from tests.scheduling.desk import MOST_WAKEUPS_AT_ONCE, Write
from tests.scheduling.invariants import Invariants
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.reservations import Capacity
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_worker.lifecycle import TERMINAL, Status
from vera_worker.tasks import (
    DEFAULT_POOL,
    RANK,
    Cause,
    Failure,
    OnDependencyFailure,
    Record,
    Task,
    Used,
)


class SimExecutor(msgspec.Struct):
    """One process, from its launch to its death."""

    slot_id: int
    pool: str = DEFAULT_POOL
    seat: int = 0
    #: Of the code that it runs.
    generation: int = 0
    ready: bool = False
    task: Task | None = None
    attempt: int = 0
    asked_to_leave: bool = False
    killed: bool = False
    asked_for_a_sign: bool = False
    #: Whether it has had a task, and whether that was to be its only one.
    used: bool = False
    used_up: bool = False


class World:
    """One scheduler and all that it has to do with."""

    def __init__(self, seed: int, **policy: Any) -> None:
        self.now = 1000.0
        #: How far the wall clock is ahead; it jumps.
        self.wall_offset = 1.0e9
        self.policy = make_policy(**policy)
        self.scheduler = Scheduler(self.policy, Random(seed))
        #: How many times the code was replaced.
        self.generation = 0
        #: How many times the worker was started anew.
        self.crashes = 0
        #: All effects in order: what a run is compared by.
        self.history: list[fx.Effect] = []
        self.executors: dict[int, SimExecutor] = {}
        self.answers_given: list[ev.AttemptEnded] = []
        # The store.
        self.writes: deque[Write] = deque()
        self.records: dict[str, Record] = {}
        # The books.
        self.accepted: set[str] = set()
        self.ends: dict[str, fx.FinishTask] = {}
        self.ends_stored: set[str] = set()
        self.announced: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.interruptions: Counter[str] = Counter()
        #: Starts that a crash of the worker undid before they were stored.
        self.unwritten: Counter[str] = Counter()
        self.starts_stored: set[tuple[str, int]] = set()
        self.requeues_seen: set[int] = set()
        self.late = 0
        self.capacity = Capacity()
        self._invariants = Invariants(self)

    # Steps.

    def tell(self, event: ev.Event) -> None:
        """Step once, check, and take in the effects."""
        waiting = {
            live.task.task_id: (live.key, RANK[live.task.priority])
            for live in self.scheduler.live.values()
            if live.key is not None
        }
        may_start = not self.scheduler.draining or isinstance(event, ev.ResumeAsked)
        effects = self.scheduler.step(event, self.now)
        self.history += effects
        for effect in effects:
            self._take(effect, event)
        started = [e.task_id for e in effects if isinstance(e, fx.StartAttempt)]
        assert may_start or not started, "a draining worker starts nothing"
        self._invariants.check(waiting, started)

    def pass_time(self, seconds: float) -> None:
        """Go on by `seconds`, waking the scheduler when it wishes."""
        end = self.now + seconds
        wakeups = 0
        while (due := self.scheduler.alarm.at) <= end:
            assert due <= self.scheduler.pools.next_deadline(), "it would be woken too late"
            wakeups = wakeups + 1 if due <= self.now else 0
            assert wakeups <= MOST_WAKEUPS_AT_ONCE, "it wants to be woken without end"
            self.now = max(self.now, due)
            self.tell(ev.TimePassed())
        self.now = end
        waiting = (live for live in self.scheduler.live.values() if live.status is Status.QUEUED)
        late = [live for live in waiting if live.added and live.expires_at <= end]
        assert not late, "it fails as soon as it may not start any more"

    def acknowledge(self) -> None:
        """The store carries out its oldest write and says so."""
        write = self.writes.popleft()
        existing = self._carry_out(write)
        if isinstance(write, fx.FinishTask):
            self.ends_stored.add(write.task_id)
        if isinstance(write, fx.StartAttempt):
            self.starts_stored.add((write.task_id, write.attempt))
            if not write.acknowledge:
                return
        self.tell(ev.Saved(write, existing))

    def resize(self, **capacity: Any) -> None:
        """The worker may use more, or less, than before."""
        self.capacity = Capacity(**capacity)
        self.tell(ev.CapacitySeen(self.capacity))

    def reload(self, **changes: Any) -> None:
        """New code is there, and with it what the policy says of functions."""
        self.policy = msgspec.structs.replace(self.policy, **changes)
        self.generation += 1
        self.scheduler.obey(self.policy)
        self.tell(ev.CodeReplaced())

    def is_offered(self, function: str) -> bool:
        """Return whether executors offer that function."""
        return self.policy.functions is None or function in self.policy.functions

    def fail(self, *, although_done: bool) -> None:
        """The store says that it could not carry out its oldest write."""
        write = self.writes.popleft()
        if although_done:
            self._carry_out(write)
        self.tell(ev.SaveFailed(write, "the disk is full"))

    def crash(self, downtime_s: float = 0.0, wall_jump_s: float = 0.0) -> None:
        """The worker is killed and started anew: what the store has is all that is left."""
        self.crashes += 1
        self.now += downtime_s
        self.wall_offset += wall_jump_s
        self.writes.clear()
        self.executors.clear()
        self.answers_given.clear()
        self.late = 0
        self.scheduler = Scheduler(self.policy, Random(self.crashes))
        for task_id, end in list(self.ends.items()):
            if not self.records[task_id].ended:
                del self.ends[task_id]  # nobody has heard of it
                assert not self.announced[task_id]
            else:
                assert self.records[task_id].status is end.status
                self.ends_stored.add(task_id)
        self.tell(ev.CapacitySeen(self.capacity))
        left = [record for record in self.records.values() if not record.ended]
        for record in left:
            self.accepted.add(record.task.task_id)  # the client will find it there
            began = self.attempts[record.task.task_id] - self.interruptions[record.task.task_id]
            self.unwritten[record.task.task_id] += began - record.attempt
            self.interruptions[record.task.task_id] += began - record.attempt
        ended = {r.task.task_id: r.status for r in self.records.values() if r.ended}
        for record in left:
            event = ev.Recovered((record,), self.now + self.wall_offset, more=True, ended=ended)
            self.tell(event)
        judged = {write.task_id for write in self.writes if not isinstance(write, fx.AddTask)}
        ran = {
            r.task.task_id
            for r in left
            if r.status is Status.RUNNING and self.is_offered(r.task.function)
        }
        assert ran <= judged, "what ran is stored as waiting, or as ended"
        self.tell(ev.Recovered((), self.now + self.wall_offset, more=False))
        self.tell(ev.TimePassed())
        lost = {record.task.task_id for record in left} - self.scheduler.live.keys()
        assert not lost, "nothing accepted is lost"

    def lose(self, executor: SimExecutor, why: str = "it died") -> None:
        """The process is gone."""
        del self.executors[executor.slot_id]
        self.tell(ev.ExecutorLost(executor.slot_id, why, signal="SIGKILL"))

    def answer(
        self,
        executor: SimExecutor,
        failure: Failure | None,
        unfit: str | None = None,
        used: Used | None = None,
    ) -> None:
        """The executor says how its attempt ended."""
        assert executor.task is not None
        result = b"1" if failure is None else None
        task_id, attempt = executor.task.task_id, executor.attempt
        answer = ev.AttemptEnded(
            executor.slot_id, task_id, attempt, result, failure, b"", unfit, used
        )
        executor.task = None
        self.answers_given.append(answer)
        if executor.killed:
            self.late += 1
        self.tell(answer)

    def answer_again(self, answer: ev.AttemptEnded) -> None:
        """An answer comes a second time."""
        self.late += 1
        self.tell(answer)

    def ended(self, task: Task) -> dict[str, Status]:
        """Return how those that `task` depends on ended, as far as the store knows."""
        records = [self.records[other] for other in task.depends_on if other in self.records]
        return {record.task.task_id: record.status for record in records if record.ended}

    def pool_of(self, task: Task) -> str:
        """Return the name of the pool that a task is to run in."""
        return self.policy.routes.get(task.function, DEFAULT_POOL)

    # Effects.

    def _take(self, effect: fx.Effect, event: ev.Event) -> None:
        match effect:
            case fx.Accept():
                self._accepted(effect, event)
            case fx.Announce():
                assert isinstance(event, ev.Saved)
                assert isinstance(event.effect, fx.FinishTask)
                assert event.effect.task_id == effect.task.task_id in self.ends_stored
                self.announced[effect.task.task_id] += 1
                assert self.announced[effect.task.task_id] == 1, "its end is told once"
            case fx.Launch():
                assert effect.slot_id not in self.executors
                assert not self.scheduler.stopping
                new = SimExecutor(effect.slot_id, effect.pool, effect.seat, self.generation)
                others = [e for e in self.executors.values() if e.pool == effect.pool]
                taken = {e.seat for e in others if self.scheduler.slots.get(e.slot_id)}
                assert new.seat not in taken, "an executor has its seat to itself"
                self.executors[effect.slot_id] = new
                roster = self.scheduler.pools.by_name[effect.pool].roster
                assert max(new.seat + 1, len(roster)) <= roster.size.max_workers
            case fx.Assign():
                self._assigned(effect)
            case fx.Stop() | fx.DumpStack():
                assert not self.executors[effect.slot_id].killed
            case fx.Kill():
                assert not self.executors[effect.slot_id].killed, "it is killed once"
                self.executors[effect.slot_id].killed = True
            case fx.Check():
                executor = self.executors[effect.slot_id]
                assert executor.ready
                assert executor.task is None
                executor.asked_for_a_sign = True
            case fx.Retire():
                executor = self.executors[effect.slot_id]
                assert executor.task is None, "a busy one is never let go"
                executor.asked_to_leave = True
            case fx.AddTask() | fx.StartAttempt() | fx.RequeueTask() | fx.FinishTask():
                self._to_be_stored(effect)
            case fx.Refuse():
                pass

    def _accepted(self, effect: fx.Accept, event: ev.Event) -> None:
        task_id = effect.task_id
        if effect.known:
            assert effect.status not in TERMINAL or self.records[task_id].ended
        else:
            assert isinstance(event, ev.Saved)
            assert isinstance(event.effect, fx.AddTask)
            assert task_id not in self.accepted
        assert task_id in self.records
        self.accepted.add(task_id)

    def _assigned(self, effect: fx.Assign) -> None:
        executor, task = self.executors[effect.slot_id], effect.task
        assert executor.ready, "an executor that is not ready gets nothing"
        assert executor.pool == self.pool_of(task), "it runs in its own pool"
        assert executor.task is None, "one task at a time"
        assert not executor.killed
        assert not executor.asked_to_leave
        assert not executor.asked_for_a_sign
        assert task.task_id in self.accepted
        assert task.task_id not in self.ends
        if task.function == ONCE:
            assert (task.task_id, effect.attempt) in self.starts_stored
            assert not self.attempts[task.task_id], "it must never be started twice"
        assert not executor.used_up, "it was to have one task only"
        executor.used_up = task.function in self.policy.alone
        assert not (executor.used and executor.used_up), "it was to have no task before"
        executor.task, executor.attempt, executor.used = task, effect.attempt, True
        self.attempts[task.task_id] += 1
        for other in task.depends_on if not self.unwritten[task.task_id] else ():
            assert self.records[other].ended, "it depends on one that has not ended"
            completed = self.records[other].status is Status.COMPLETED
            assert completed or task.on_dependency_failure is OnDependencyFailure.RUN
        assert effect.attempt == self.attempts[task.task_id] - self.interruptions[task.task_id]
        assert effect.attempt <= task.max_retries + self.policy.crash_retries + 1

    def _to_be_stored(self, effect: Write) -> None:
        if isinstance(effect, fx.StartAttempt):
            live = self.scheduler.live[effect.task_id]
            assert live.slot_id is not None
            assert self.executors[live.slot_id].generation == self.generation, "new code"
            assert self.is_offered(live.task.function)
        if isinstance(effect, fx.FinishTask):
            assert effect.status in TERMINAL
            assert self.ends.setdefault(effect.task_id, effect) == effect, "it ends once"
            assert effect.task_id not in self.ends_stored
            assert effect not in self.writes
            if effect.failure is not None and effect.failure.type == "DependencyFailed":
                others = self.scheduler.live[effect.task_id].task.depends_on
                ended = {record.status for o in others if (record := self.records[o]).ended}
                assert ended - {Status.COMPLETED}, "none of those that it depends on ended badly"
        if isinstance(effect, fx.RequeueTask) and id(effect) not in self.requeues_seen:
            self.requeues_seen.add(id(effect))  # it is kept in the history, and so is its id
            ran = self.attempts[effect.task_id] - self.interruptions[effect.task_id]
            if effect.failure.cause is Cause.INTERRUPTED and ran > effect.attempt:
                self.interruptions[effect.task_id] += 1
            elif effect.failure.cause is not Cause.INTERRUPTED and ran < effect.attempt:
                self.attempts[effect.task_id] += 1  # it was to stop before it was sent off
        self.writes.append(effect)

    def _carry_out(self, write: Write) -> Record | None:
        if isinstance(write, fx.AddTask):
            known = self.records.get(write.task.task_id)
            if known is None:
                task = write.task
                assert self.records.keys() >= {*task.depends_on}, "it is stored after those"
                self.records[task.task_id] = Record(task=task, number=len(self.records) + 1)
            return known and msgspec.structs.replace(known)
        record = self.records[write.task_id]
        if isinstance(write, fx.FinishTask):
            assert not record.ended or record.status is write.status
            record.status = write.status
        else:
            assert not record.ended, "nothing is written over an end"
            waits = isinstance(write, fx.RequeueTask)
            record.status = Status.QUEUED if waits else Status.RUNNING
        record.attempt = write.attempt
        if isinstance(write, fx.StartAttempt | fx.RequeueTask):
            record.spent = write.spent
        if isinstance(write, fx.RequeueTask):
            record.failure = write.failure
            if write.delay_s:
                record.ready_at = self.now + self.wall_offset + write.delay_s
        return None
