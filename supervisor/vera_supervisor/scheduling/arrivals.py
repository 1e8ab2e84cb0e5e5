"""How tasks come in: submitted by a client, or left by an earlier run. Pure.

A submission is a task once it is stored. One that depends on others is stored after them, and
waits for their ends.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.attempts import Attempts
from vera_supervisor.scheduling.certificates import WORKER_LOST, dependency_failed
from vera_supervisor.scheduling.dependencies import Dependent
from vera_supervisor.scheduling.effects import Accept, AddTask, Effect, Refusal, Refuse
from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.policy import Policy
from vera_supervisor.scheduling.recovery import Recovery
from vera_worker.lifecycle import FAIL, QUEUED, RUNNING, Status
from vera_worker.tasks import Record, Task

#: After tasks of an earlier run were taken up, so many starts are put on disk before they begin: a
#: task that kills the worker at once would otherwise never be seen to have started.
CAREFUL_STARTS: Final = 256


class Arrivals(Attempts):
    """How lives begin."""

    def __init__(self, policy: Policy, rng: Random) -> None:
        super().__init__(policy, rng)
        self.draining = False
        #: While tasks of an earlier run are taken up.
        self._recovery: Recovery | None = None

    # What others may read.

    @property
    def recovering(self) -> bool:
        """Whether tasks of an earlier run are still being taken up."""
        return self._recovery is not None

    def position(self, live: LiveTask) -> int | None:
        """Return the place of a waiting task in the queue, from 1."""
        return self.waiting.position(live)

    # Submissions.

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
        add = AddTask(task, event.delay_s, event.expires_in_s)
        if not task.depends_on:
            return [add]
        dependent = self._depend(live, event.ended, now + event.delay_s)
        dependent.add = add
        return self._store_in_turn([dependent])

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
            self._forget(live)
            answer = self._known(known.task, task, known.status)
            return [answer, *self._tell_of_known(known, now)]
        live.added = True
        if effect.expires_in_s is not None:
            live.expires_at = live.accepted_at + effect.expires_in_s
            self._watch(live)
        further: list[Effect] = []
        if task.task_id in self.waiting.dependencies.awaited:
            further = self._store_in_turn(self.waiting.dependencies.of(task.task_id))
        if not task.depends_on:
            self._wait(live, live.accepted_at + effect.delay_s, now, live.accepted_at)
        elif (dependent := self.waiting.dependencies[task.task_id]).settled:
            further += self._settle(dependent, now)
        position = self.waiting.position(live)
        before = known is not None
        return [Accept(task.task_id, QUEUED, position, before, task.digest), *further]

    def _not_added(self, effect: AddTask, reason: str) -> list[Effect]:
        """A submission was not stored, or nobody knows: what depends on it is not even tried."""
        task = effect.task
        self._forget(self.live[task.task_id])
        refuse = Refuse(task.task_id, Refusal.STORE, reason, task.digest)
        return [refuse, *self._refuse_dependents(task.task_id, Refusal.STORE, reason)]

    def _tell_of_known(self, known: Record, now: float) -> list[Effect]:
        """Tell those that depend on a submission that its id was taken before."""
        task_id = known.task.task_id
        if known.ended:
            return self._tell_dependents(task_id, known.status, now)
        detail = f"depends_on: there is no task {task_id!r}"  # its client was refused
        return self._refuse_dependents(task_id, Refusal.DEPENDENCY, detail, "depends_on")

    def _refuse_dependents(
        self, task_id: str, refusal: Refusal, detail: str, field: str | None = None
    ) -> list[Effect]:
        """Refuse everything that was to be stored after a submission that came to nothing."""
        effects: list[Effect] = []
        dependencies, gone = self.waiting.dependencies, deque([task_id])
        while gone:
            for dependent in dependencies.of(gone.popleft()):
                task = dependent.live.task
                self._forget(dependent.live)
                gone.append(task.task_id)
                effects.append(Refuse(task.task_id, refusal, detail, task.digest, field))
        return effects

    def _forget(self, live: LiveTask) -> None:
        """A submission came to nothing."""
        task = live.task
        del self.live[task.task_id]
        self._count(task, -1)
        if task.depends_on:
            self.waiting.dependencies.remove(task.task_id)

    def _known(self, known: Task, task: Task, status: Status) -> Effect:
        if known.digest != task.digest:
            return conflict(task)
        live = self.live.get(known.task_id)
        position = None if live is None else self.position(live)
        return Accept(known.task_id, status, position, known=True, digest=task.digest)

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
            for live in self.live.values():
                self._watch(live)
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
        told = self.waiting.dependencies.ended(task_id, status)
        for dependent in told:
            if dependent.live.added and dependent.settled:
                effects += self._settle(dependent, now)
        return effects + self._store_in_turn(told)

    def _store_in_turn(self, dependents: Iterable[Dependent]) -> list[Effect]:
        """Store those of these submissions that depend on nothing any more that is not stored."""
        effects: list[Effect] = []
        for dependent in dependents:
            add = dependent.add
            if add is not None and all(self.live[other].added for other in dependent.awaited):
                dependent.add = None
                effects.append(add)
        return effects

    def _settle(self, dependent: Dependent, now: float) -> list[Effect]:
        live = dependent.live
        self.waiting.leave(live)
        if dependent.failed is None:
            self._wait(live, dependent.ready_at, now, now)
            return []
        failure = dependency_failed(*dependent.failed)
        return [self._finish(live, FAIL, None, failure, b"")]


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
