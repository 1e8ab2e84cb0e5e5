"""One task per item, so many at a time, and what became of each in the order of the items."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import anyio

from vera_client import calls, transport
from vera_client.async_client import AsyncClient
from vera_client.calls import Call, Options
from vera_client.errors import ApiProblem, Refused, WorkerUnreachable
from vera_client.groups import first_error
from vera_client.patience import Patience
from vera_client.records import TaskRecord
from vera_worker.lifecycle import Status

T = TypeVar("T")
R = TypeVar("R")

#: What is wrong with one submission, and not with all of them.
_ITS_OWN_FAULT: Final = frozenset({400, 409, 413, 422})


async def in_order(
    items: AsyncIterator[T],
    work: Callable[[T], Awaitable[R]],
    emit: Callable[[R], None],
    at_once: int,
) -> None:
    """Do `work` on each item, at most `at_once` at a time; `emit` what comes of each, in order.

    An item is taken when its turn has come. The first error ends it all and is raised as it is.
    """
    send, receive = anyio.create_memory_object_stream[tuple[int, T]]()
    done: dict[int, R] = {}
    following = 0

    async def worker() -> None:
        nonlocal following
        async for index, item in receive:
            done[index] = await work(item)
            while following in done:
                emit(done.pop(following))
                following += 1

    with first_error():
        async with receive, anyio.create_task_group() as group, send:
            for _ in range(at_once):
                group.start_soon(worker)
            index = 0
            async for item in items:
                await send.send((index, item))
                index += 1


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

    async def run(
        self, function: str, args: list[Any], kwargs: dict[str, Any], options: Options
    ) -> TaskRecord:
        """Return the record of one ended task; one that the worker finds unfit has failed."""
        # One call for all tries: the same task id makes the second no second task.
        submit = calls.submit(function, args, kwargs, options, transport.HOLD_S)
        try:
            record = await self._insist(submit)
        except ApiProblem as problem:
            if problem.status in _ITS_OWN_FAULT and self._patience.met:
                return TaskRecord(task_id="", status=Status.FAILED, error=problem.detail)
            raise
        polls = transport.Polls(None, self._now)
        while not record.ended:
            await self._sleep(polls.pause())
            record = await self._insist(calls.status(record.task_id, polls.hold()))
        return record

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
