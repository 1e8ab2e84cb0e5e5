"""The client for asynchronous code, on asyncio or trio."""

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import anyio
import httpx

from vera_client import calls, transport
from vera_client.answers import Answer, Outcome, checked
from vera_client.calls import Call, Filter, Options, Which
from vera_client.errors import result_of
from vera_client.event_lines import EventReader
from vera_client.records import Cancelled, Function, Health, Page, TaskEvent, TaskRecord

T = TypeVar("T")


class AsyncClient:
    """One worker, seen from asynchronous code; any number of tasks may share it.

    async with AsyncClient("http://127.0.0.1:5000") as worker:
        total = await worker.run("process_data", 1, 2, 3, kwargs={"mode": "fast"})
    """

    def __init__(
        self,
        url: str = transport.DEFAULT_URL,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        connections: int = 100,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        settings = transport.settings(url, token, tls, connections)
        self.url = transport.checked_url(url)
        if http is None and (path := transport.socket_path(url)):
            http = httpx.AsyncHTTPTransport(uds=path, limits=settings["limits"])
        self._http = httpx.AsyncClient(transport=http, **settings)
        self._sleep = anyio.sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(
        self,
        function: str,
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        wait: float | None = None,
        **options: Unpack[Options],
    ) -> TaskRecord:
        """Submit a task; with `wait`, give it that many seconds (up to 300) to end first."""
        return await self.send(calls.submit(function, args, kwargs, options, wait))

    async def run(
        self,
        function: str,
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Submit a task, wait for its end and return its result; raise TaskFailed without one."""
        hold = transport.HOLD_S
        record = await self.send(calls.submit(function, args, kwargs, options, hold))
        if not record.ended:
            record = await self.wait(record.task_id)
        return result_of(record)

    async def status(self, task_id: str) -> TaskRecord:
        """Return a task's record as it is now."""
        return await self.send(calls.status(task_id))

    async def wait(self, task_id: str, at_most: float | None = None) -> TaskRecord:
        """Return a task's record once it has ended, or as it is after `at_most` seconds."""
        polls = transport.Polls(at_most)
        while True:
            await self._sleep(polls.pause())
            record = await self.send(calls.status(task_id, polls.hold()))
            if record.ended or polls.over:
                return record

    async def cancel(self, task_id: str) -> TaskRecord:
        """Cancel a task, queued or running."""
        return await self.send(calls.cancel(task_id))

    async def output(self, task_id: str) -> str:
        """Return what the last attempt printed so far."""
        return await self.send(calls.output(task_id))

    async def follow(self, task_id: str) -> AsyncIterator[str]:
        """Yield what the attempt prints, until the task has ended."""
        async with self._stream(calls.follow(task_id)) as response:
            async for text in response.aiter_text():
                yield text

    async def submit_many(
        self,
        function: str,
        args: Iterable[Sequence[Any]],
        /,
        wait: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[Outcome]:
        """Submit one task per list of arguments; yield what became of each, in order.

        That is a record, or the problem why it was not taken. With `wait`, each gets that many
        seconds (up to 300) to end first. While the queue is full, the worker waits.
        """
        for lines in calls.batches(function, args, options):
            for outcome in await self.send(calls.batch(lines, wait)):
                yield outcome

    async def retry(self, task_id: str) -> TaskRecord:
        """Run an ended task again; return the new task."""
        return await self.send(calls.retry(task_id))

    async def cancel_many(self, **which: Unpack[Filter]) -> Cancelled:
        """Cancel the tasks that match; all of them where nothing is chosen."""
        return await self.send(calls.cancel_many(which))

    async def purge(self, **which: Unpack[Filter]) -> int:
        """Have the ended tasks that match forgotten, or all; return how many."""
        return await self.send(calls.purge(which))

    async def events(
        self, task_id: str | None = None, last_id: str | None = None
    ) -> AsyncIterator[TaskEvent]:
        """Yield what happens to a task until its end, or to all tasks.

        After a connection that broke, `last_id` of the last event seen goes on from there.
        """
        reader = EventReader()
        async with self._stream(calls.events(task_id, last_id)) as response:
            async for line in response.aiter_lines():
                if event := reader.feed(line):
                    yield event

    async def list(self, **which: Unpack[Which]) -> Page:
        """Return tasks, newest first, up to 1000 at a time."""
        return await self.send(calls.tasks(which))

    async def functions(self) -> Sequence[Function]:
        """Return what can be called."""
        return await self.send(calls.functions())

    async def health(self) -> Health:
        """Return how the worker is."""
        return await self.send(calls.health())

    async def ready(self) -> bool:
        """Tell whether a task sent now would start."""
        return await self.send(calls.ready())

    async def metrics(self) -> dict[str, Any]:
        """Return the counts since the worker's start."""
        return await self.send(calls.metrics())

    async def drain(self) -> dict[str, Any]:
        """Let running tasks end, take and start no others."""
        return await self.send(calls.admin("drain"))

    async def resume(self) -> dict[str, Any]:
        """Take and start tasks again."""
        return await self.send(calls.admin("resume"))

    async def reload(self) -> dict[str, Any]:
        """Read the configuration again."""
        return await self.send(calls.admin("reload"))

    async def send(self, call: Call[T]) -> T:
        """Make a call and return what its answer says."""
        return call.read(await self.fetch(call))

    async def fetch(self, call: Call[Any]) -> Answer:
        """Make a call and return its answer as it came; raise what a bad one stands for."""
        try:
            response = await self._http.send(transport.request_of(call, self._http))
        except httpx.RequestError as error:
            if transport.worth_repeating(call, error):
                return await self.fetch(call.once())
            raise transport.unreachable(self.url, error) from error
        return checked(transport.answer_of(response), call.also)

    @asynccontextmanager
    async def _stream(self, call: Call[Any]) -> AsyncIterator[httpx.Response]:
        """Make a call whose answer is read as it comes; raise what a bad one stands for."""
        try:
            response = await self._http.send(transport.request_of(call, self._http), stream=True)
            try:
                if not response.is_success:
                    await response.aread()
                    checked(transport.answer_of(response))
                yield response
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            raise transport.unreachable(self.url, error) from error
