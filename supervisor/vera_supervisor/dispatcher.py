"""The one owner of the scheduler: takes events in, steps, carries the effects out.

Everything here happens on the event loop. Clients await futures that this object resolves; what
they asked for happens whether or not they stay to hear of it.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from vera_supervisor.clock import Clock, Timer
from vera_supervisor.feed import Kind, TaskEvent, in_short
from vera_supervisor.journal import Journal
from vera_supervisor.metrics import Metrics
from vera_supervisor.pool.pool import Pool
from vera_supervisor.records import Records
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.drain_rate import DrainRate
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_supervisor.scheduling.waiting import Outlook
from vera_supervisor.store.protocol import Store, StoreFault
from vera_worker.fault_points import (
    DRAIN_BEGUN,
    END_STORED,
    INTERRUPTED,
    START_TOLD,
    SUBMISSION_READ,
    TASK_STORED,
    reach,
)
from vera_worker.lifecycle import QUEUED, RUNNING, Status
from vera_worker.tasks import Failure, Progress, Record, Task

log = logging.getLogger(__name__)

Answer: TypeAlias = fx.Accept | fx.Refuse

_QUEUED, _STARTED, _ENDED = Kind.QUEUED, Kind.STARTED, Kind.ENDED

#: Those who wait for room in a full queue are woken when this part of it is free, and not for each
#: single place.
_WORTH_WAKING_FOR: Final = 1 / 4
#: When this part of the queue is free, nobody need wait for a place.
_ROOM_FOR_ALL: Final = 1 / 2


def _keep_quiet(_task_id: str, _attempt: int, _output: bytes) -> None:
    """Show no output anywhere."""


class Dispatcher:
    """The shell around the scheduler."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        journal: Journal,
        metrics: Metrics,
        clock: Clock,
        *,
        show_output: Callable[[str, int, bytes], None] | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.journal = journal
        self.records = Records(scheduler, store)
        self.drain_rate = DrainRate(clock.now())
        pools = scheduler.pools.all
        #: By pool, where there are several.
        self._drain_rates = {p.name: DrainRate(clock.now()) for p in pools if len(pools) > 1}
        self._store = store
        self._metrics = metrics
        self._clock = clock
        #: Takes what an attempt has printed: task id, attempt, bytes.
        self._show_output = show_output or _keep_quiet
        self._inbox: deque[ev.Event] = deque()
        self._stepping = False
        self._closed = False
        self._timer: Timer | None = None
        self._timer_at = math.inf
        #: Who waits for an answer, by task id and digest of the submission.
        self._answers: dict[tuple[str, bytes], list[Callable[[Answer], None]]] = {}
        #: How tasks ended that somebody waits for, until that is stored.
        self._ends: dict[str, Record] = {}
        #: Set when no task runs any more; None while nobody waits for that.
        self._idle: asyncio.Event | None = None
        #: Set when the queue has room again; None while nobody waits for that.
        self._roomy: asyncio.Event | None = None
        self._carry: dict[type, Callable[[Any], None]] = {
            fx.AddTask: self._add,
            fx.StartAttempt: self._start,
            fx.RequeueTask: self._requeue,
            fx.FinishTask: self._finish,
            fx.Accept: self._answer,
            fx.Refuse: self._answer,
            fx.Announce: self._announce,
            fx.Report: self._report,
        }

    def attach(self, pool: Pool) -> None:
        """Take the pool that the effects on executors go to."""
        self._pool = pool
        self._carry |= {
            fx.Launch: pool.launch,
            fx.Assign: pool.assign,
            fx.Stop: pool.stop,
            fx.DumpStack: pool.dump_stack,
            fx.Kill: pool.kill,
            fx.Check: pool.check,
            fx.Retire: pool.retire,
        }

    def detach(self) -> None:
        """From now on decide nothing more: the executors are going away."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def retry_after(self, pool: str | None = None, *, stays: bool = True) -> int:
        """Return the whole seconds after which one more refused client may try again.

        `pool` is the one whose own queue is full, if that is why it was refused. Not `stays`: it
        only asks, and no place is promised to it.
        """
        rate = self.drain_rate if pool is None else self._drain_rates[pool]
        return rate.retry_after(self._clock.now(), stays=stays)

    def look_at_drain(self, now: float) -> None:
        """Measure how fast tasks leave the queue; to be called now and then."""
        self.drain_rate.look(now)
        if self.has_room(_ROOM_FOR_ALL):
            self.drain_rate.forget_line()
        for name, rate in self._drain_rates.items():
            rate.look(now)
            if self.scheduler.pools.by_name[name].has_room(_ROOM_FOR_ALL):
                rate.forget_line()

    def drain_rate_of(self, task: Task) -> DrainRate:
        """Return how fast the line drains in which a task waits for an executor."""
        pool = self.scheduler.waiting.line_of(task.function).pool
        return self._drain_rates.get(pool, self.drain_rate)

    def post(self, event: ev.Event) -> None:
        """Let the scheduler know of `event`, and do everything that follows from it."""
        inbox = self._inbox
        inbox.append(event)
        if not self._stepping:  # else an effect of the step under way led here
            self._work_off(inbox)

    def _work_off(self, inbox: deque[ev.Event]) -> None:
        if self._closed:
            inbox.clear()
            return
        self._stepping = True
        scheduler, carry, now = self.scheduler, self._carry, self._clock.now
        try:
            while inbox:
                for effect in scheduler.step(inbox.popleft(), now()):
                    carry[type(effect)](effect)
        finally:
            self._stepping = False
        if scheduler.alarm.at < self._timer_at:
            self._set_timer(scheduler.alarm.at)
        if self._idle is not None and not scheduler.running:
            self._idle.set()
            self._idle = None
        if self._roomy is not None and self.has_room(_WORTH_WAKING_FOR):
            self._roomy.set()
            self._roomy = None

    def offer(self, submission: ev.Submitted, tell: Callable[[Answer], None]) -> None:
        """Have a task accepted or refused; `tell` is called once it is stored."""
        reach(SUBMISSION_READ)
        task = submission.task
        self._answers.setdefault((task.task_id, task.digest), []).append(tell)
        self.post(submission)

    async def submit(
        self, task: Task, *, delay_s: float = 0.0, expires_in_s: float | None = None
    ) -> Answer:
        """Have `task` accepted or refused; returns once it is stored."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def tell(answer: Answer) -> None:
            if not future.done():  # else the client is gone; its task is ours all the same
                future.set_result(answer)

        ended = await self.records.ends_before(task) if task.depends_on else {}
        self.offer(ev.Submitted(task, delay_s, expires_in_s, ended), tell)
        return await future

    async def outlook(self, submission: ev.Submitted) -> Outlook | fx.Refuse:
        """Return what would become of a submission; nothing is done about it."""
        task = submission.task
        if task.depends_on:
            ended = await self.records.ends_before(task)
            submission = msgspec.structs.replace(submission, ended=ended)
        return self.scheduler.outlook(submission, self._clock.now())

    async def room(self) -> int:
        """Return how many tasks the queue can take now; wait while that is none.

        A worker that drains has room: it refuses them for another reason.
        """
        while not self.has_room():
            if self._roomy is None:
                self._roomy = asyncio.Event()
            await self._roomy.wait()
        return max(1, self.scheduler.policy.queue_size - self.scheduler.queued)

    def has_room(self, part: float = 0.0) -> bool:
        """Return whether that part of the queue is free, or one place at least."""
        size = self.scheduler.policy.queue_size
        free = size - self.scheduler.queued
        return free >= max(1, int(size * part)) or self.scheduler.draining

    async def cancel(self, task_id: str) -> Record | None:
        """Cancel a task and return its record once it has ended; None where there is none.

        If it had ended before, its record shows another status than "cancelled".
        """
        ended = self.journal.expect_end(task_id)
        try:
            live = self.scheduler.live.get(task_id)
            if live is not None and live.added:
                self.post(ev.CancelAsked(task_id))
                await ended
        finally:
            ended.cancel()
        return await self.records.get(task_id)

    async def wait_ended(self, task_id: str, timeout_s: float) -> Record | None:
        """Return the record of a task when it has ended, or as it is after `timeout_s`."""
        live, told = self.scheduler.live.get(task_id), None
        if live is not None and live.added:
            ended = self.journal.expect_end(task_id)
            timer = asyncio.get_running_loop().call_later(timeout_s, _give_up, ended)
            try:
                told = await ended
            finally:
                timer.cancel()
        return told or await self.records.get(task_id)

    async def output(self, task_id: str) -> bytes | None:
        """Return what the last attempt printed, so far; None where there is no such task."""
        live = self.scheduler.live.get(task_id)
        if live is not None and live.slot_id is not None:
            return self._pool.output(live.slot_id)
        record = await self._store.get(task_id)
        return None if record is None else record.output

    async def drain(self, timeout_s: float) -> None:
        """Start nothing more, wait for what runs, put back what runs after `timeout_s`."""
        self.post(ev.DrainAsked())
        reach(DRAIN_BEGUN)
        try:
            async with asyncio.timeout(timeout_s):
                await self._rest()
        except TimeoutError:
            log.warning("%d tasks still run: they are put back", self.scheduler.running)
        await self.interrupt()

    async def interrupt(self) -> None:
        """Kill all executors and put their tasks back; returns when no task runs."""
        self.post(ev.InterruptAsked())
        reach(INTERRUPTED)
        await self._rest()

    async def _rest(self) -> None:
        """Return when no task runs."""
        if self.scheduler.running:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()

    def _answer(self, effect: Answer) -> None:
        if isinstance(effect, fx.Refuse):
            if effect.refusal is fx.Refusal.TOO_LATE:
                return  # whoever asked to cancel reads the record instead
            self._metrics.refusals[effect.refusal] += 1
        elif not effect.known:
            self._note(_QUEUED, self._task(effect.task_id), QUEUED, 0, position=effect.position)
        for tell in self._answers.pop((effect.task_id, effect.digest), ()):
            tell(effect)
            if isinstance(effect, fx.Accept) and not effect.known:
                effect = msgspec.structs.replace(effect, known=True)  # to whoever asked after

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(when, self._time_passed)
        self._timer_at = when

    def _time_passed(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self.post(ev.TimePassed())

    # Effects on the store. Its acknowledgements come back as events.

    def _add(self, effect: fx.AddTask) -> None:
        self._store.add(effect, partial(self._added, effect))

    def _added(self, effect: fx.AddTask, outcome: StoreFault | Record | None) -> None:
        if isinstance(outcome, StoreFault):
            self.post(ev.SaveFailed(effect, outcome.reason))
        else:
            reach(TASK_STORED)
            self.post(ev.Saved(effect, outcome))

    def _start(self, effect: fx.StartAttempt) -> None:
        task = self._task(effect.task_id)
        self.drain_rate.note()
        if self._drain_rates:
            self.drain_rate_of(task).note()
        at = self.records.starts[effect.task_id] = self._clock.wall()
        self._store.start(effect, at, partial(self._started, effect))
        self._note(_STARTED, task, RUNNING, effect.attempt)
        reach(START_TOLD)

    def _started(self, effect: fx.StartAttempt, fault: StoreFault | None) -> None:
        if fault is not None or effect.acknowledge:
            self._done(effect, fault)

    def _requeue(self, effect: fx.RequeueTask) -> None:
        failure = in_short(effect.failure)
        task = self._task(effect.task_id)
        self._note(Kind.REQUEUED, task, QUEUED, effect.attempt, failure=failure)
        self._show_output(effect.task_id, effect.attempt, effect.output)
        self._store.requeue(effect, self._clock.wall(), partial(self._done, effect))

    def _finish(self, effect: fx.FinishTask) -> None:
        at = self._clock.wall()
        if self.journal.waits_for(effect.task_id):
            self._ends[effect.task_id] = self.records.of_end(effect, at)
        self._show_output(effect.task_id, effect.attempt, effect.output)
        self._store.finish(effect, at, partial(self._finished, effect))

    def _finished(self, effect: fx.FinishTask, fault: StoreFault | None) -> None:
        reach(END_STORED)
        self._done(effect, fault)

    def _done(
        self,
        effect: fx.StartAttempt | fx.RequeueTask | fx.FinishTask,
        fault: StoreFault | None,
    ) -> None:
        self.post(ev.Saved(effect) if fault is None else ev.SaveFailed(effect, fault.reason))

    def _announce(self, effect: fx.Announce) -> None:
        self._metrics.ended(effect)
        task_id = effect.task.task_id
        self.records.starts.pop(task_id, None)
        failure = None if effect.failure is None else in_short(effect.failure)
        self._note(_ENDED, effect.task, effect.status, effect.attempt, failure=failure)
        self.journal.ended(task_id, self._ends.pop(task_id, None))

    def _report(self, effect: fx.Report) -> None:
        progress = effect.progress
        self._note(Kind.PROGRESS, effect.task, RUNNING, effect.attempt, progress=progress)

    def _note(
        self,
        kind: Kind,
        task: Task,
        status: Status,
        attempt: int,
        *,
        position: int | None = None,
        progress: Progress | None = None,
        failure: Failure | None = None,
    ) -> None:
        at, task_id, function = self._clock.wall(), task.task_id, task.function
        self.journal.feed.add(
            TaskEvent(kind, task_id, function, at, status, attempt, position, progress, failure)
        )

    def _task(self, task_id: str) -> Task:
        return self.scheduler.live[task_id].task


def _give_up(waiting: asyncio.Future[Record | None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
