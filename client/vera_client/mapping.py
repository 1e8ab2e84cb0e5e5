"""Many tasks, a limited number at a time, with what became of each in the order of the items."""

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

import anyio

from vera_client import calls, transport
from vera_client.answers import Outcome
from vera_client.async_client import AsyncClient
from vera_client.calls import Call
from vera_client.errors import ApiProblem, Refused, WorkerUnreachable
from vera_client.groups import first_error
from vera_client.patience import Patience
from vera_client.records import TaskRecord
from vera_worker.lifecycle import Status

T = TypeVar("T")
R = TypeVar("R")
#: Takes what came of the item at that place among those that were given.
Put: TypeAlias = Callable[[int, R], None]

#: What can be wrong with one submission alone, unless it is in a field that all have in common.
_ITS_OWN_FAULT: Final = frozenset({400, 409, 413, 422})
_IN_COMMON: Final = frozenset({"payload.function", "priority", "timeout"})
#: A request takes as many items as were recently done within so many seconds, and an item waits no
#: longer than that for room for those that go with it.
_QUICK_S: Final = 0.25
#: Seconds that one request waits for the ends of several tasks; then each is waited for alone, so
#: that a slow one holds up no other for longer.
_TOGETHER_S: Final = 5.0


async def in_order(
    items: AsyncIterator[Sequence[T]],
    work: Callable[[Sequence[T], Put[R]], Awaitable[None]],
    emit: Callable[[R], None],
    at_once: int,
    *,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Do `work` on all items, at most `at_once` at a time; `emit` what comes of each, in order.

    Those that are there together are given to `work` together where many are done in little time,
    else each alone. The first error ends it all and is raised as it is.
    """
    window = _Window(emit, at_once, now)

    async def do(first: int, some: Sequence[T]) -> None:
        await work(some, lambda place, result: window.put(first + place, result))

    with first_error():
        async with anyio.create_task_group() as group:
            taken = 0
            async for some in items:
                done = 0
                while done < len(some):
                    count = await window.enter(len(some) - done)
                    group.start_soon(do, taken + done, some[done : done + count])
                    done += count
                taken += done


class _Window(Generic[R]):
    """What is under way, and the results whose turn has not come."""

    def __init__(self, emit: Callable[[R], None], at_once: int, now: Callable[[], float]) -> None:
        #: Items that go together at most: so some are on their way while others run.
        self._most = max(1, at_once // 2)
        self._emit = emit
        self._now = now
        self._free = at_once
        self._freed = anyio.Event()
        #: When the last of them were done.
        self._ends: deque[float] = deque(maxlen=at_once)
        self._done: dict[int, R] = {}
        self._following = 0

    async def enter(self, ready: int) -> int:
        """Wait for room, and return how many of the items that are ready have it now."""
        await self._room_for(1)
        together = min(ready, self._together())
        with anyio.move_on_after(_QUICK_S):
            await self._room_for(together)
        count = min(together, self._free)
        self._free -= count
        return count

    def _together(self) -> int:
        """Return how many items go together, as fast as they are done."""
        if not self._ends:
            return 1
        took_s = self._now() - self._ends[0]
        quick = len(self._ends) * _QUICK_S / took_s if took_s > 0 else self._most
        return max(1, min(self._most, int(quick)))

    async def _room_for(self, count: int) -> None:
        while self._free < count:
            self._freed = anyio.Event()
            await self._freed.wait()

    def put(self, index: int, result: R) -> None:
        """Take the result of one item, and emit all whose turn has come."""
        self._done[index] = result
        self._ends.append(self._now())
        self._free += 1
        self._freed.set()
        while self._following in self._done:
            self._emit(self._done.pop(self._following))
            self._following += 1


class Mapper:
    """Submits tasks and waits for their ends, through full queues and restarts of the worker."""

    def __init__(
        self,
        worker: AsyncClient,
        patience: Patience,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], float] = time.monotonic,
        on_delay: Callable[[Exception, float], None] = lambda _error, _seconds: None,
    ) -> None:
        self._worker = worker
        self._patience = patience
        self._sleep = sleep
        self._now = now
        self._on_delay = on_delay

    async def run_all(self, tasks: Sequence[bytes], put: Put[TaskRecord]) -> None:
        """Have some `calls.submission`s run, in one request as far as that goes.

        `put` gets the record of each once it has ended; one that the worker finds unfit has failed.
        """

        async def alone(place: int, outcome: Outcome | None) -> None:
            known = outcome if isinstance(outcome, TaskRecord) else None
            put(place, await self.run(tasks[place], known))

        async with anyio.create_task_group() as group:
            if len(tasks) > 1 and sum(map(len, tasks)) > calls.BATCH_BYTES:
                for place, task in enumerate(tasks):
                    group.start_soon(self.run_all, [task], partial(_put_at, put, place))
                return
            for place, outcome in enumerate(await self._together(tasks)):
                if isinstance(outcome, TaskRecord) and outcome.ended:
                    put(place, outcome)
                else:
                    group.start_soon(alone, place, outcome)

    async def run(self, task: bytes, known: TaskRecord | None = None) -> TaskRecord:
        """Return the record of one task once it has ended; `known` is how it stood, if it is."""
        # One call for all tries: the same task id makes the second no second task.
        submit = calls.submit_as(task, transport.HOLD_S)
        try:
            record = known or await self._insist(submit)
        except ApiProblem as problem:
            if problem.status in _ITS_OWN_FAULT and problem.field not in _IN_COMMON:
                return TaskRecord(task_id="", status=Status.FAILED, error=problem.detail)
            raise
        polls = transport.Polls(None, self._now)
        while not record.ended:
            await self._sleep(polls.pause())
            record = await self._insist(calls.status(record.task_id, polls.hold()))
        return record

    async def _together(self, tasks: Sequence[bytes]) -> Sequence[Outcome | None]:
        """Submit tasks in one request, which waits while the queue is full.

        None: it may be that the worker has not heard of it, so it is to be submitted alone.
        """
        unknown = [None] * len(tasks)
        lines = b"".join(task + b"\n" for task in tasks)
        wait_s = transport.HOLD_S if len(tasks) == 1 else _TOGETHER_S
        try:
            outcomes = await self._worker.send(calls.batch(lines, wait_s, held_s=transport.HOLD_S))
        except (Refused, WorkerUnreachable):
            return unknown  # there is patience where each goes alone
        if any(isinstance(outcome, TaskRecord) for outcome in outcomes):
            self._patience.answered()
        return outcomes if len(outcomes) == len(tasks) else unknown

    async def _insist(self, call: Call[TaskRecord]) -> TaskRecord:
        while True:
            try:
                record = await self._worker.send(call)
            except (Refused, WorkerUnreachable) as error:
                delay = self._patience.delay(error, self._now())
                if delay is None:
                    raise
                self._on_delay(error, delay)
                await self._sleep(delay)
            else:
                self._patience.answered()
                return record


def _put_at(put: Put[R], place: int, _first: int, result: R) -> None:
    put(place, result)
