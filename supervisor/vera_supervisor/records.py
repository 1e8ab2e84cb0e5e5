"""What clients may know of a task: from the scheduler while it is live, else from the store.

They learn only what the store has confirmed.
"""

from collections.abc import Collection, Mapping

from vera_supervisor.scheduling.effects import FinishTask
from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_supervisor.store.protocol import Store
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record, Task


class Records:
    """Looks tasks up."""

    def __init__(self, scheduler: Scheduler, store: Store) -> None:
        self._scheduler = scheduler
        self._store = store
        #: When the last attempts of live tasks started, as the store was told; the dispatcher's.
        self.starts: dict[str, float] = {}

    async def get(self, task_id: str) -> Record | None:
        """Return a task and what became of it, as far as the store has confirmed it."""
        live = self._scheduler.live.get(task_id)
        if live is None:
            return await self._store.get(task_id)
        return self.of_live(live) if live.added else None

    def of_live(self, live: LiveTask) -> Record:
        """Return the record of a task that has not ended."""
        return Record(
            task=live.task,
            status=live.told,
            attempt=live.attempt,
            started_at=self.starts.get(live.task.task_id),
            failure=live.failure if live.told is Status.QUEUED else None,
            spent=live.spent,
        )

    def of_end(self, effect: FinishTask, at: float) -> Record:
        """Return what the store will say of a task, to save those who wait from reading it."""
        live = self._scheduler.live[effect.task_id]
        return Record(
            task=live.task,
            status=effect.status,
            attempt=effect.attempt,
            spent=live.spent,
            started_at=self.starts.get(effect.task_id),
            completed_at=at,
            result=effect.result,
            failure=effect.failure,
            output=effect.output,
        )

    async def ends_before(self, task: Task) -> Mapping[str, Status]:
        """Return how those of the tasks that `task` depends on ended that are not live."""
        # If it is sent again, it was checked the first time, and the store may have forgotten some.
        sent_again = await self._store.get(task.task_id) is not None
        return await self.ends(task.depends_on, unknown=Status.COMPLETED if sent_again else None)

    async def ends(
        self, task_ids: Collection[str], *, unknown: Status | None = None
    ) -> Mapping[str, Status]:
        """Return how those of these tasks ended that are not live.

        Those that the store does not know count as `unknown`, or are left out.
        """
        ended: dict[str, Status] = {}
        looked_up: set[str] = set()
        # A task that was live may have ended while another one was looked up.
        while others := [t for t in task_ids if t not in looked_up | self._scheduler.live.keys()]:
            for task_id in others:
                looked_up.add(task_id)
                record = await self._store.get(task_id)
                if record is None and unknown is not None:
                    ended[task_id] = unknown
                elif record is not None and record.ended:
                    ended[task_id] = record.status
        return ended
