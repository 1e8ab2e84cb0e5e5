"""Who waits for what: tasks that are to end, and the clients that want to know."""

import asyncio
from collections import defaultdict


class Journal:
    """Wakes clients when a task they wait for has ended, and that is stored."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    @property
    def waiting(self) -> int:
        """How many clients wait."""
        return sum(map(len, self._waiting.values()))

    def expect_end(self, task_id: str) -> asyncio.Future[None]:
        """Return what is done when the task ends; call it before you look whether it has."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[task_id].add(future)
        future.add_done_callback(lambda future: self._forget(task_id, future))
        return future

    def ended(self, task_id: str) -> None:
        """The task has ended: wake all who wait for it."""
        for future in self._waiting.pop(task_id, ()):
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """The worker stops: wake everybody, so that they can be told how things stand."""
        for task_id in list(self._waiting):
            self.ended(task_id)

    def _forget(self, task_id: str, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(task_id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[task_id]
