"""Who waits for the end of which task."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias

from vera_supervisor.feed import Feed
from vera_worker.tasks import Record

#: Told of the end of a task, once: its record, or None where that has to be looked up.
Tell: TypeAlias = Callable[[Record | None], None]


class Journal:
    """Tells clients when a task they wait for has ended, and that is stored."""

    def __init__(self, feed: Feed | None = None) -> None:
        #: What happens to tasks on their way.
        self.feed = feed or Feed(history=0, backlog=0)
        self._waiting: defaultdict[str, list[Tell]] = defaultdict(list)

    @property
    def waiting(self) -> int:
        """How many wait for an end."""
        return sum(map(len, self._waiting.values()))

    def waits_for(self, task_id: str) -> bool:
        """Return whether anybody waits for the end of that task."""
        return task_id in self._waiting

    def watch(self, task_id: str, tell: Tell) -> None:
        """Have `tell` called when the task ends; call this before checking whether it has."""
        self._waiting[task_id].append(tell)

    def unwatch(self, task_id: str, tell: Tell) -> None:
        """Do not call `tell` any more; nothing happens if it was called already."""
        waiting = self._waiting.get(task_id)
        if waiting is not None and tell in waiting:
            waiting.remove(tell)
            if not waiting:
                del self._waiting[task_id]

    def expect_end(self, task_id: str) -> asyncio.Future[Record | None]:
        """Return a future of the task's end; call this before checking whether it has ended."""
        future: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()

        def tell(record: Record | None) -> None:
            if not future.done():
                future.set_result(record)

        self.watch(task_id, tell)
        future.add_done_callback(lambda _: self.unwatch(task_id, tell))
        return future

    def ended(self, task_id: str, record: Record | None = None) -> None:
        """The task has ended: tell all who wait for it."""
        for tell in self._waiting.pop(task_id, ()):
            tell(record)

    def close(self) -> None:
        """The worker stops: wake everybody, so that they can see how things stand."""
        for task_id in list(self._waiting):
            self.ended(task_id)
        self.feed.close()
