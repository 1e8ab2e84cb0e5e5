"""Tasks that wait for other tasks to end."""

from collections.abc import Iterable

import msgspec

from vera_supervisor.scheduling.effects import AddTask
from vera_supervisor.scheduling.live_task import LiveTask
from vera_worker.lifecycle import Status
from vera_worker.tasks import OnDependencyFailure


class Dependent(msgspec.Struct):
    """A task that waits for others."""

    live: LiveTask
    #: Ids of those that have not ended.
    awaited: set[str]
    #: It starts no earlier than this, however soon they end.
    ready_at: float
    #: Stored only after those, lest it be there without them. None: it is on its way to the store.
    add: AddTask | None = None
    #: One of them, and how it ended, that keeps this task from ever running.
    failed: tuple[str, Status] | None = None

    @property
    def settled(self) -> bool:
        """Whether it need not wait any longer, to run or to fail."""
        return not self.awaited or self.failed is not None

    def learn(self, task_id: str, status: Status) -> None:
        """One of the tasks that it waits for has ended."""
        self.awaited.discard(task_id)
        needed = self.live.task.on_dependency_failure is OnDependencyFailure.FAIL
        if needed and status is not Status.COMPLETED and self.failed is None:
            self.failed = task_id, status


class Dependencies:
    """Who waits for whom. A task waits only for older ones, so nobody waits in a circle."""

    def __init__(self) -> None:
        self._dependents: dict[str, Dependent] = {}
        #: By the id of a task that has not ended: who waits for it, in order of acceptance.
        self.awaited: dict[str, dict[str, None]] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._dependents

    def add(self, live: LiveTask, awaited: Iterable[str], ready_at: float) -> Dependent:
        """Let a task wait for others, none, one or many."""
        task_id = live.task.task_id
        dependent = Dependent(live, set(awaited), ready_at)
        self._dependents[task_id] = dependent
        for other in dependent.awaited:
            self.awaited.setdefault(other, {})[task_id] = None
        return dependent

    def __getitem__(self, task_id: str) -> Dependent:
        return self._dependents[task_id]

    def remove(self, task_id: str) -> None:
        """Let that task wait for no other one, whether it did or not."""
        dependent = self._dependents.pop(task_id, None)
        if dependent is None:
            return
        for other in dependent.awaited:
            waiting = self.awaited[other]
            del waiting[task_id]
            if not waiting:
                del self.awaited[other]

    def of(self, task_id: str) -> list[Dependent]:
        """Return all who wait for that task."""
        return [self._dependents[other] for other in self.awaited.get(task_id, ())]

    def ended(self, task_id: str, status: Status) -> list[Dependent]:
        """Tell all who wait for that task how it ended; return them."""
        told = self.of(task_id)
        self.awaited.pop(task_id, None)
        for dependent in told:
            dependent.learn(task_id, status)
        return told
