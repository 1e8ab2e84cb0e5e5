"""The durable store as the event loop sees it: writes are handed over, answers come as calls."""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from vera_supervisor.clock import SystemClock
from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.store.protocol import (
    Added,
    Done,
    Page,
    Query,
    StoreFault,
    StoreUnavailable,
)
from vera_supervisor.store.sqlite.batch import Write
from vera_supervisor.store.sqlite.database import Database
from vera_supervisor.store.sqlite.ownership import own
from vera_supervisor.store.sqlite.rows import NUMBER
from vera_supervisor.store.sqlite.versions import wal_reset_warning
from vera_supervisor.store.sqlite.writer import Parcel, Settled, Writer
from vera_worker.lifecycle import TERMINAL
from vera_worker.tasks import Record

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for which a start that nobody waits for may wait for others to share its commit.
START_DELAY_S: Final = 0.02
#: When so many writes come at once, the next ones are gathered for so long: a commit costs the same
#: for few tasks as for many, and each one makes two threads contend for Python's lock.
BUSY_WRITES: Final = 64
PACE_S: Final = 0.01
#: A page ends early when its records take more than this.
PAGE_BYTES: Final = 16 << 20
_CLOSED: Final = StoreFault("the store is closed")
_NO_NUMBER: Final = 1 << 62


class SqliteStore:
    """Keeps tasks in one file. A write is acknowledged once it is on the disk."""

    def __init__(
        self,
        path: Path,
        *,
        result_ttl_s: float,
        max_bytes: int,
        on_commit: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`on_commit` hears of each commit how many seconds it took, on the event loop."""
        self.fault: str | None = None
        self._path = path.absolute()
        self._result_ttl_s = result_ttl_s
        self._max_bytes = max_bytes
        self._on_commit = on_commit
        self._loop: asyncio.AbstractEventLoop
        self._writer: Writer | None = None
        #: Done when the file is nobody's any more.
        self._let_go: asyncio.Future[None]
        #: What is to be handed over at the end of this turn of the loop, or a little later.
        self._writes: list[Write] = []
        self._handing_over: asyncio.Handle | None = None
        self._soon = False
        #: Not to hand over before, on the loop's clock.
        self._paced_until = 0.0

    def add(self, effect: AddTask, done: Added) -> None:
        """Keep a new task, unless there is one of its id."""
        self._tell(Write(effect, 0.0, done))

    def start(self, effect: StartAttempt, at: float, done: Done) -> None:
        """Note that an attempt begins."""
        self._tell(Write(effect, at, done), soon=effect.acknowledge)

    def requeue(self, effect: RequeueTask, at: float, done: Done) -> None:
        """Note that an attempt ended and the task waits for another one."""
        self._tell(Write(effect, at, done))

    def finish(self, effect: FinishTask, at: float, done: Done) -> None:
        """Note how a task ended; another end is a fault."""
        self._tell(Write(effect, at, done))

    async def get(self, task_id: str) -> Record | None:
        """Return the record of a task, or None; raise StoreUnavailable."""
        return await self._read(lambda database: database.get(task_id))

    async def page(self, query: Query) -> Page:
        """Return the records that a query asks for; raise StoreUnavailable."""
        before: int | None = _NO_NUMBER if query.cursor is None else int(query.cursor)
        records: list[Record] = []
        room = PAGE_BYTES
        while before is not None:
            piece, before = await self._read(_next_records(query, before, len(records)))
            for record in piece:
                room -= _bytes_of(record)
                if len(records) == query.limit or (room < 0 and records):
                    return Page(records, str(records[-1].number))
                records.append(record)
        return Page(records, None)

    async def unended(self, after: int, limit: int) -> list[Record]:
        """Return the first tasks after number `after` that have not ended, in that order."""
        return await self._ask(lambda writer: writer.live_after(after, limit))

    async def forget(self, query: Query) -> int:
        """Forget the ended tasks that match; raise StoreUnavailable."""
        if query.status is not None and query.status not in TERMINAL:
            return 0
        forgotten, before = 0, _NO_NUMBER
        while before:
            count, before = await self._ask(_forget_some(query, before))
            forgotten += count
        return forgotten

    async def prune(self, now: float) -> int:
        """Forget ended tasks that are too old or too many; raise StoreUnavailable."""
        forgotten = 0
        while some := await self._ask(lambda writer: writer.prune(now)):
            forgotten += some
        return forgotten

    async def open(self) -> None:
        """Take possession of the file and inspect it; raise StoreUnavailable."""
        warning = wal_reset_warning(sqlite3.sqlite_version_info)
        if warning is not None:
            log.warning(warning)
        self._loop = asyncio.get_running_loop()
        self._let_go = self._loop.create_future()
        opened: asyncio.Future[Writer] = self._loop.create_future()
        threading.Thread(target=self._run, args=(opened,), name="store", daemon=True).start()
        self._writer = await opened

    async def close(self) -> None:
        """Carry out what is still to be written, and let go."""
        if self._writer is None:
            return
        self._hand_over()
        closed = self._ask(Writer.close)
        self._writer = None
        await closed
        await self._let_go

    # On the event loop.

    def _tell(self, write: Write, *, soon: bool = True) -> None:
        if self._writer is None:
            self._loop.call_soon(write.done, _CLOSED)
            return
        self._writes.append(write)
        if not self._soon:
            self._hand_over_later(soon=soon)

    def _hand_over_later(self, *, soon: bool) -> None:
        """Hand over when this turn of the loop is done: one parcel for all that it brings."""
        if self._handing_over is not None:
            if not soon:
                return
            self._handing_over.cancel()
        delay_s = self._paced_until - self._loop.time() if soon else START_DELAY_S
        if delay_s > 0:
            self._handing_over = self._loop.call_later(delay_s, self._hand_over)
        else:
            self._handing_over = self._loop.call_soon(self._hand_over)
        self._soon = soon

    def _hand_over(self) -> None:
        if self._handing_over is not None:
            self._handing_over.cancel()
        self._handing_over, self._soon = None, False
        if self._writer is not None and self._writes:
            self._writer.inbox.put(Parcel(self._writes, []))
            if len(self._writes) >= BUSY_WRITES:
                self._paced_until = self._loop.time() + PACE_S
            self._writes = []

    def _read(self, ask: Callable[[Database], T]) -> asyncio.Future[T]:
        return self._ask(lambda writer: writer.read(ask))

    def _ask(self, call: Callable[[Writer], T]) -> asyncio.Future[T]:
        """Have the writer call something; what it returns or raises comes in a future."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._writer is None:
            future.set_exception(StoreUnavailable("the store is closed"))
            return future

        def job(writer: Writer) -> None:
            try:
                result = call(writer)
            except Exception as error:  # noqa: BLE001 - whoever asked is to hear of it
                self._post(_fail, future, error)
            else:
                self._post(_resolve, future, result)

        self._writer.inbox.put(Parcel([], [job]))
        return future

    def _settle(self, settled: Settled) -> None:
        if settled.commit_s is not None:
            self._on_commit(settled.commit_s)
        for write, answer in zip(settled.writes, settled.answers, strict=True):
            try:
                write.done(answer)
            except Exception as error:  # noqa: BLE001 - the others shall hear of theirs
                message = "an acknowledged write was not taken note of"
                self._loop.call_exception_handler({"message": message, "exception": error})

    def _set_fault(self, fault: str | None) -> None:
        self.fault = fault

    # In the thread of the writer.

    def _run(self, opened: asyncio.Future[Writer]) -> None:
        try:
            lock = own(self._path)
        except Exception as error:  # noqa: BLE001 - whoever opens is to hear of it
            self._post(_fail, opened, error)
            return
        try:
            writer = Writer(
                self._path,
                lock,
                result_ttl_s=self._result_ttl_s,
                max_bytes=self._max_bytes,
                now=SystemClock.now,
                settle=lambda settled: self._post(self._settle, settled),
                tell_fault=lambda fault: self._post(self._set_fault, fault),
            )
        except Exception as error:  # noqa: BLE001 - whoever opens is to hear of it
            os.close(lock)
            self._post(_fail, opened, error)
            return
        self._post(_resolve, opened, writer)
        try:
            writer.run()
        finally:
            os.close(lock)
            self._post(_resolve, self._let_go, None)

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed: nobody is there to hear of it
            return


def _next_records(
    query: Query, before: int, so_far: int
) -> Callable[[Database], tuple[list[Record], int | None]]:
    def ask(database: Database) -> tuple[list[Record], int | None]:
        found = database.search(query, before, query.limit + 1 - so_far)
        records: list[Record] = []
        room = PAGE_BYTES
        for row in found.rows:
            records.append(database.record(row))
            room -= _bytes_of(records[-1])
            if room < 0:
                return records, row[NUMBER]
        return records, found.before

    return ask


def _forget_some(query: Query, before: int) -> Callable[[Writer], tuple[int, int]]:
    def ask(writer: Writer) -> tuple[int, int]:
        numbers, count, size, following = writer.read(
            lambda database: database.ended_matching(query, before)
        )
        if writer.delete(numbers, count, size) != count:
            raise StoreUnavailable("the store cannot write: not all tasks were forgotten")
        return count, following or 0

    return ask


def _bytes_of(record: Record) -> int:
    return len(record.task.payload) + len(record.result or b"") + len(record.output)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
