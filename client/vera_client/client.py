"""The blocking client."""

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from vera_client import calls, transport
from vera_client.answers import Answer, Outcome, checked
from vera_client.calls import Call, Filter, Options, Which
from vera_client.errors import result_of
from vera_client.event_lines import EventReader
from vera_client.records import Cancelled, Function, Health, Page, TaskEvent, TaskRecord

T = TypeVar("T")


class Client:
    """One worker, seen from code that blocks; any number of threads may share it.

    with Client("http://127.0.0.1:5000") as worker:
        total = worker.run("process_data", 1, 2, 3, kwargs={"mode": "fast"})
    """

    def __init__(
        self,
        url: str = transport.DEFAULT_URL,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        connections: int = 100,
        http: httpx.BaseTransport | None = None,
    ) -> None:
        settings = transport.settings(url, token, tls, connections)
        self.url = transport.checked_url(url)
        if http is None and (path := transport.socket_path(url)):
            http = httpx.HTTPTransport(uds=path, limits=settings["limits"])
        self._http = httpx.Client(transport=http, **settings)
        self._sleep = time.sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        function: str,
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        wait: float | None = None,
        **options: Unpack[Options],
    ) -> TaskRecord:
        """Submit a task; with `wait`, give it that many seconds (up to 300) to end first."""
        return self.send(calls.submit(function, args, kwargs, options, wait))

    def run(
        self,
        function: str,
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Submit a task, wait for its end and return its result; raise TaskFailed without one."""
        hold = transport.HOLD_S
        record = self.send(calls.submit(function, args, kwargs, options, hold))
        if not record.ended:
            record = self.wait(record.task_id)
        return result_of(record)

    def status(self, task_id: str) -> TaskRecord:
        """Return a task's record as it is now."""
        return self.send(calls.status(task_id))

    def wait(self, task_id: str, at_most: float | None = None) -> TaskRecord:
        """Return a task's record once it has ended, or as it is after `at_most` seconds."""
        polls = transport.Polls(at_most)
        while True:
            self._sleep(polls.pause())
            record = self.send(calls.status(task_id, polls.hold()))
            if record.ended or polls.over:
                return record

    def cancel(self, task_id: str) -> TaskRecord:
        """Cancel a task, queued or running."""
        return self.send(calls.cancel(task_id))

    def output(self, task_id: str) -> str:
        """Return what the last attempt printed so far."""
        return self.send(calls.output(task_id))

    def follow(self, task_id: str) -> Iterator[str]:
        """Yield what the attempt prints, until the task has ended."""
        with self._stream(calls.follow(task_id)) as response:
            yield from response.iter_text()

    def submit_many(
        self,
        function: str,
        args: Iterable[Sequence[Any]],
        /,
        wait: float | None = None,
        **options: Unpack[Options],
    ) -> Iterator[Outcome]:
        """Submit one task per list of arguments; yield what became of each, in order.

        That is a record, or the problem why it was not taken. With `wait`, each gets that many
        seconds (up to 300) to end first. While the queue is full, the worker waits.
        """
        for lines in calls.batches(function, args, options):
            yield from self.send(calls.batch(lines, wait))

    def retry(self, task_id: str) -> TaskRecord:
        """Run an ended task again; return the new task."""
        return self.send(calls.retry(task_id))

    def cancel_many(self, **which: Unpack[Filter]) -> Cancelled:
        """Cancel the tasks that match; all of them where nothing is chosen."""
        return self.send(calls.cancel_many(which))

    def purge(self, **which: Unpack[Filter]) -> int:
        """Have the ended tasks that match forgotten, or all; return how many."""
        return self.send(calls.purge(which))

    def events(self, task_id: str | None = None, last_id: str | None = None) -> Iterator[TaskEvent]:
        """Yield what happens to a task until its end, or to all tasks.

        After a connection that broke, `last_id` of the last event seen goes on from there.
        """
        reader = EventReader()
        with self._stream(calls.events(task_id, last_id)) as response:
            for line in response.iter_lines():
                if event := reader.feed(line):
                    yield event

    def list(self, **which: Unpack[Which]) -> Page:
        """Return tasks, newest first, up to 1000 at a time."""
        return self.send(calls.tasks(which))

    def functions(self) -> Sequence[Function]:
        """Return what can be called."""
        return self.send(calls.functions())

    def health(self) -> Health:
        """Return how the worker is."""
        return self.send(calls.health())

    def ready(self) -> bool:
        """Tell whether a task sent now would start."""
        return self.send(calls.ready())

    def metrics(self) -> dict[str, Any]:
        """Return the counts since the worker's start."""
        return self.send(calls.metrics())

    def drain(self) -> dict[str, Any]:
        """Let running tasks end, take and start no others."""
        return self.send(calls.admin("drain"))

    def resume(self) -> dict[str, Any]:
        """Take and start tasks again."""
        return self.send(calls.admin("resume"))

    def reload(self) -> dict[str, Any]:
        """Read the configuration again."""
        return self.send(calls.admin("reload"))

    def send(self, call: Call[T]) -> T:
        """Make a call and return what its answer says."""
        return call.read(self.fetch(call))

    def fetch(self, call: Call[Any]) -> Answer:
        """Make a call and return its answer as it came; raise what a bad one stands for."""
        try:
            response = self._http.send(transport.request_of(call, self._http))
        except httpx.RequestError as error:
            if transport.worth_repeating(call, error):
                return self.fetch(call.once())
            raise transport.unreachable(self.url, error) from error
        return checked(transport.answer_of(response), call.also)

    @contextmanager
    def _stream(self, call: Call[Any]) -> Iterator[httpx.Response]:
        """Make a call whose answer is read as it comes; raise what a bad one stands for."""
        try:
            response = self._http.send(transport.request_of(call, self._http), stream=True)
            try:
                if not response.is_success:
                    response.read()
                    checked(transport.answer_of(response))
                yield response
            finally:
                response.close()
        except httpx.RequestError as error:
            raise transport.unreachable(self.url, error) from error
