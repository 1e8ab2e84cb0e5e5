"""Stories told of any store, by a writer that remembers what it was answered.

A store may take its time to acknowledge; `Writer.settled` waits for that, whatever it takes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
import pytest

from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.store.protocol import Store, StoreFault
from vera_worker.lifecycle import Status
from vera_worker.tasks import (
    Cause,
    Failure,
    Record,
    Spent,
    Task,
)

T = TypeVar("T")

TTL_S: Final = 100.0
#: Room for a few ended tasks that hold KILOBYTE each, not for many.
MAX_BYTES: Final = 64 * 1024
KILOBYTE: Final = b"x" * 1024
#: No store takes so long, unless it is broken.
PATIENCE_S: Final = 60.0
NOW: Final = 1.0e9
BOOM: Final = Failure(
    cause=Cause.EXCEPTION,
    message="boom ☃",
    type="ValueError",
    traceback="Traceback …",
    duration_s=1.5,
    output_tail="said\n",
)

SPENT: Final = Spent(retries=1)
NOTHING_SPENT: Final = Spent()

#: Makes an empty store that keeps ended tasks for TTL_S and MAX_BYTES, and clears it away.
StoreMaker = Callable[[], AbstractAsyncContextManager[Store]]


class Writer:
    """Writes to a store and remembers what it answered, in the order in which it did."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.answers: list[tuple[int, Record | StoreFault | None]] = []
        self._told = 0
        self._answered = asyncio.Event()

    def add(self, task: Task) -> None:
        self.store.add(AddTask(task, 0.0, None), self._hear())

    def start(
        self, task_id: str, attempt: int = 1, at: float = NOW, spent: Spent = NOTHING_SPENT
    ) -> None:
        effect = StartAttempt(task_id, attempt, spent, acknowledge=True)
        self.store.start(effect, at, self._hear())

    def requeue(self, task_id: str, attempt: int = 1, output: bytes = b"") -> None:
        effect = RequeueTask(task_id, attempt, BOOM, 1.0, output, SPENT)
        self.store.requeue(effect, NOW, self._hear())

    def finish(self, task_id: str, at: float = NOW, **changes: Any) -> None:
        effect = FinishTask(task_id, 1, Status.COMPLETED, b"42", None, b"")
        self.store.finish(msgspec.structs.replace(effect, **changes), at, self._hear())

    async def settled(self) -> list[Record | StoreFault | None]:
        """Return all answers so far once none is outstanding; they came in order."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.answers) < self._told:
                self._answered.clear()
                await self._answered.wait()
        assert [number for number, _ in self.answers] == list(range(self._told))
        return [answer for _, answer in self.answers]

    async def last(self) -> Record | StoreFault | None:
        """Return the answer to the last write."""
        return (await self.settled())[-1]

    async def record(self, task_id: str) -> Record:
        """Return the record of a task that must be there, once all is written."""
        await self.settled()
        record = await self.store.get(task_id)
        assert record is not None, task_id
        return record

    def _hear(self) -> Callable[[Record | StoreFault | None], None]:
        number = self._told
        self._told += 1

        def hear(answer: Record | StoreFault | None) -> None:
            self.answers.append((number, answer))
            self._answered.set()

        return hear


class Stories:
    """Stories that tests tell of a store; subclasses override the fixture `make_store`."""

    @pytest.fixture
    def make_store(self) -> StoreMaker:
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: StoreMaker) -> Callable[[Callable[[Writer], Awaitable[T]]], T]:
        """Run one story with a writer to a fresh store."""

        def run(story: Callable[[Writer], Awaitable[T]]) -> T:
            async def told() -> T:
                async with make_store() as store:
                    return await story(Writer(store))

            return asyncio.run(told())

        return run


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    """Open a store for a while."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()
