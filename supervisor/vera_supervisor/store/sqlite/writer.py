"""The thread that owns the connection: it writes, reads and forgets for everybody.

What gathers while one commit is under way goes into the next. A commit that fails fails all its
writes, and is not tried again: the connection is closed, and nothing is written until the
database has been opened anew, has proved that it can write, and has been inspected.
"""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

import msgspec

from vera_supervisor.store.protocol import StoreFault, StoreUnavailable
from vera_supervisor.store.sqlite.batch import Answer, Batch, Write
from vera_supervisor.store.sqlite.database import Database
from vera_supervisor.store.sqlite.inspection import Stock, open_database
from vera_supervisor.store.sqlite.rows import Damaged, record_of_entry
from vera_supervisor.store.sqlite.witness import Witness
from vera_worker.fault_points import CHECKPOINT_BEGUN, COMMIT_BEGUN, COMMITTED, reach
from vera_worker.tasks import Record

log = logging.getLogger(__name__)

#: Seconds between two attempts to write again.
RETRY_S: Final = 1.0
#: Writes that one commit takes at most: what came first shall not wait for too many others.
_WRITES_AT_ONCE: Final = 512
#: The log is brought into the database when about so much was written to it; each row counts as
#: a page, which it is where ids come in no order.
_CHECKPOINT_BYTES: Final = 8 << 20
_PAGE_BYTES: Final = 4096
#: When room runs out, this part of it is made free at once.
_FREED_PART: Final = 16

#: Asked for by the event loop, answered by a call to it.
Job: TypeAlias = Callable[["Writer"], None]


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """What the event loop hands over at once."""

    writes: list[Write]
    jobs: list[Job]


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The answers to some writes, in the order in which they were told."""

    writes: list[Write]
    answers: list[Answer]
    #: What their commit took; None where nothing had to be written, or could be.
    commit_s: float | None


class Writer:
    """All of it happens in one thread; only `inbox` is for others."""

    def __init__(
        self,
        path: Path,
        lock: int,
        *,
        result_ttl_s: float,
        max_bytes: int,
        now: Callable[[], float],
        settle: Callable[[Settled], None],
        tell_fault: Callable[[str | None], None],
    ) -> None:
        """Open the database; raise StoreUnavailable."""
        self.inbox: SimpleQueue[Parcel] = SimpleQueue()
        self._path = path
        self._witness = Witness(lock)
        self._result_ttl_s = result_ttl_s
        self._max_bytes = max_bytes
        self._now = now
        self._settle = settle
        self._tell_fault = tell_fault
        self._fault: str | None = None
        self._retry_at = 0.0
        #: Bytes written since the last checkpoint, about.
        self._logged = 0
        self._closing = False
        self._database: Database
        self._stock: Stock
        self._database, self._stock = open_database(path, self._witness.commits(), keep_tasks=True)

    def run(self) -> None:
        """Work until a job says `close`."""
        while not self._closing:
            writes, jobs = self._gather()
            if self._fault is not None and self._now() >= self._retry_at:
                self._recover()
            first = 0
            while first < len(writes):
                first = self._write(writes, first)
                self._tidy()
            for job in jobs:
                job(self)
                self._tidy()

    # Jobs.

    def read(self, ask: Callable[[Database], Any]) -> Any:
        """Read from the database; raise StoreUnavailable."""
        try:
            return ask(self._database)
        except sqlite3.ProgrammingError as error:  # it is closed, and cannot be opened anew
            raise StoreUnavailable(self._fault or str(error)) from error
        except (sqlite3.Error, Damaged) as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error

    def live_after(self, number: int, limit: int) -> list[Record]:
        """Return the first tasks after `number` that have not ended; raise StoreUnavailable."""
        records: list[Record] = self.read(
            lambda database: [
                self._live_record(task_id, database) for task_id in database.unended(number, limit)
            ]
        )
        return records

    def _live_record(self, task_id: str, database: Database) -> Record:
        entry = self._stock.live[task_id]
        task, entry.task = entry.task, None
        if task is not None:
            return record_of_entry(entry, task)
        record = database.get(task_id)
        if record is None:
            raise Damaged(f"task {task_id!r} is not in the database any more")
        return record

    def prune(self, now: float) -> int:
        """Forget some tasks that ended too long ago or are too many; return how many."""
        oldest = self.read(lambda database: database.ended_before(now - self._result_ttl_s))
        return self.delete(*oldest) or self._shrink()

    def delete(self, numbers: str, count: int, size: int) -> int:
        """Forget ended tasks, `numbers` as a JSON array; return how many: none under a fault."""
        if not count or self._fault is not None:
            return 0
        stock = self._stock
        try:
            self._database.delete(numbers, (stock.commits + 1, stock.last_number))
            self._committed(count * _PAGE_BYTES)
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is in doubt
            self._fail(error)
            return 0
        stock.ended_bytes -= size
        return count

    def close(self) -> None:
        """Bring everything into the database and let go of it; the thread ends."""
        self._closing = True
        try:
            if self._fault is None:
                reach(CHECKPOINT_BEGUN)
                self._database.checkpoint("truncate")
            self._database.close()
        except sqlite3.Error as error:
            log.warning("the store was closed, its log is left as it is: %s", error)

    # Writing.

    def _gather(self) -> tuple[list[Write], list[Job]]:
        """Return all that has come, once something has; nothing when it is time to recover."""
        writes: list[Write] = []
        jobs: list[Job] = []
        try:
            parcel = self.inbox.get(timeout=None if self._fault is None else RETRY_S)
            while True:
                writes += parcel.writes
                jobs += parcel.jobs
                parcel = self.inbox.get_nowait()
        except Empty:
            return writes, jobs

    def _write(self, writes: list[Write], first: int) -> int:
        """Carry out writes from `first` on, in one commit; return where the next one begins."""
        if self._fault is not None:
            self._refuse(writes[first:], self._fault)
            return len(writes)
        some = writes[first : first + _WRITES_AT_ONCE]
        began = self._now()
        try:
            batch, written = self._commit(some)
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is in doubt
            self._refuse(some, self._fail(error))
            return first + len(some)
        took_s = self._now() - began if written else None
        self._settle(Settled(some[: len(batch.answers)], batch.answers, took_s))
        return first + len(batch.answers)

    def _commit(self, writes: list[Write]) -> tuple[Batch, bool]:
        """Commit as many of the writes as go into one commit; say whether any had to be."""
        stock, taken = self._stock, set[str]()
        while True:
            batch = Batch(stock.live, stock.last_number, taken, self._database.get)
            for write in writes:
                if not batch.take(write):
                    break
            new, changed = batch.rows()
            if not new and not changed:
                return batch, False
            head = (stock.commits + 1, batch.last_number)
            reach(COMMIT_BEGUN)
            if self._database.commit(new, changed, batch.parts, head):
                break
            taken = self._database.taken(batch.added)
        reach(COMMITTED)
        batch.merge_into(stock.live)
        stock.last_number = batch.last_number
        stock.ended_bytes += batch.ended_bytes
        rows = len(new) + len(changed)
        self._committed(rows * _PAGE_BYTES + sum(len(p) for p in batch.parts.values() if p))
        return batch, True

    def _committed(self, logged: int) -> None:
        self._stock.commits += 1
        self._witness.note(self._stock.commits)
        self._logged += logged

    def _refuse(self, writes: list[Write], reason: str) -> None:
        fault = StoreFault(reason)
        self._settle(Settled(writes, [fault] * len(writes), None))

    def _tidy(self) -> None:
        """Do what no one waits for."""
        if self._closing or self._fault is not None:
            return
        try:
            self._shrink()
            if self._logged >= _CHECKPOINT_BYTES and self._fault is None:
                reach(CHECKPOINT_BEGUN)
                self._database.checkpoint()
                self._logged = 0
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is in doubt
            self._fail(error)

    def _shrink(self) -> int:
        """Make room where there is too little; return how many tasks were forgotten."""
        if self._stock.ended_bytes <= self._max_bytes:
            return 0
        wanted = self._max_bytes - self._max_bytes // _FREED_PART
        excess = self._stock.ended_bytes - wanted
        return self.delete(*self.read(lambda database: database.oldest_ended(excess)))

    # When the disk fails.

    def _fail(self, error: Exception) -> str:
        """Write nothing more until the database has been opened anew; return the reason."""
        reason = f"the store cannot write: {error}"
        expected = isinstance(error, (sqlite3.Error, OSError, Damaged, StoreUnavailable))
        log.error("%s", reason, exc_info=None if expected else error)
        self._set_fault(reason)
        self._retry_at = self._now()
        return reason

    def _recover(self) -> None:
        """Open the database anew; it counts as well again when it has taken a write."""
        try:
            self._database.close()
            self._database = Database(self._path)
            self._database.prove()
            self._database.close()
            self._database, self._stock = open_database(
                self._path, self._witness.commits(), keep_tasks=False
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            self._set_fault(f"the store cannot write: {error}")
            self._retry_at = self._now() + RETRY_S
            return
        log.warning("the store can write again")
        self._logged = 0
        self._set_fault(None)

    def _set_fault(self, fault: str | None) -> None:
        self._fault = fault
        self._tell_fault(fault)
