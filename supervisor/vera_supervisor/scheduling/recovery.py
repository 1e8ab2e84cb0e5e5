"""Taking up the tasks that an earlier run of the worker left: from records to live tasks.

Records come in the order in which their tasks were accepted. Their times are those of the wall
clock, which may have jumped since; they are turned into times of this run's clock once, here.
"""

from operator import attrgetter

from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.retry import longest_delay
from vera_worker.tasks import RANK, Record


class Recovery:
    """Lives while tasks are taken up; nothing is started before it is done."""

    def __init__(self, now: float, wall: float) -> None:
        self._now = now
        self._offset = now - wall
        #: The last arrival in each class so far. The wall clock may have gone backwards, yet the
        #: task that was accepted first keeps the first place.
        self._latest = [-float("inf")] * len(RANK)
        self._ready: list[LiveTask] = []

    def take_up(self, record: Record) -> tuple[LiveTask, float]:
        """Return the task of a record as live, and from when on it may start."""
        task = record.task
        rank = RANK[task.priority]
        arrived_at = max(min(task.queued_at + self._offset, self._now), self._latest[rank])
        self._latest[rank] = arrived_at
        live = LiveTask(
            task=task,
            added=True,
            attempt=record.attempt,
            spent=record.spent,
            place=arrived_at,
            accepted_at=arrived_at,
            failure=record.failure,
        )
        if task.expires_at is not None:
            live.expires_at = task.expires_at + self._offset
        if record.started_at is not None:
            live.started_at = record.started_at + self._offset
        if record.ready_at is not None:
            # However the wall clock has jumped, no pause becomes longer than it was meant to be.
            longest = self._now + longest_delay(task, record.spent)
            live.place = max(arrived_at, min(record.ready_at + self._offset, longest))
        elif task.run_at is not None:
            live.place = max(arrived_at, task.run_at + self._offset)
        return live, live.place

    def line_up(self, live: LiveTask) -> None:
        """Keep a task that may start for the end of the recovery."""
        self._ready.append(live)

    def in_order(self) -> list[LiveTask]:
        """Return the tasks that may start in the order in which they had come to the queue."""
        self._ready.sort(key=attrgetter("place"))
        return self._ready
