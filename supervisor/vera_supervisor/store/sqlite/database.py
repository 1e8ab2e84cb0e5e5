"""The one connection to the database, and all SQL that is asked while the worker runs."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from vera_supervisor.store.protocol import Query, StoreUnavailable
from vera_supervisor.store.sqlite.migrations import APPLICATION_ID
from vera_supervisor.store.sqlite.rows import (
    CHANGING,
    COLUMNS,
    LARGE,
    NUMBER,
    SIZE,
    Damaged,
    Row,
    part_checksum,
    record_of,
    verify,
)
from vera_worker.tasks import Record

#: Rows that one statement writes: one statement takes Python's lock back once, not once a row.
_ROWS_AT_ONCE: Final = 64
#: Ended tasks that one transaction forgets, and rows that one search looks through.
FORGOTTEN_AT_ONCE: Final = 256
SEARCHED_AT_ONCE: Final = 2000
#: A log that an exceptional batch has blown up is cut back to this.
_LOG_BYTES: Final = 64 << 20

_ALL: Final = ", ".join(COLUMNS)
_ENDED: Final = "from tasks where completed_at is not null"


class Found(msgspec.Struct, frozen=True):
    """What one search brought: some rows, and the number to go on from; None at the end."""

    rows: list[Row]
    before: int | None


class Database:
    """An open connection. Used by one thread, and the only one there is to its file."""

    def __init__(self, path: Path) -> None:
        self.connection = connect(path)

    def commit(
        self,
        new: list[Row],
        changed: list[Row],
        parts: Mapping[tuple[int, int], bytes | None],
        head: tuple[int, int],
    ) -> bool:
        """Write all of it durably; False, and nothing is written, where a new id is taken.

        `head` is the count of commits after this one, and the last number given away.
        """
        execute = self.connection.execute
        execute("begin immediate")
        try:
            if self._write(new, _insert) < len(new):
                execute("rollback")
                return False
            self._change(changed)
            self._write_parts(parts)
            execute("update head set commits = ?, last_number = ?", head)
            execute("commit")
        except BaseException:
            self._roll_back()
            raise
        return True

    def delete(self, numbers: str, head: tuple[int, int]) -> None:
        """Forget tasks durably; `numbers` is a JSON array."""
        execute = self.connection.execute
        execute("begin immediate")
        try:
            for table in ("large", "tasks"):
                execute(
                    f"delete from {table} where number in (select value from json_each(?))",  # noqa: S608 - one of two names
                    (numbers,),
                )
            execute("update head set commits = ?, last_number = ?", head)
            execute("commit")
        except BaseException:
            self._roll_back()
            raise

    def checkpoint(self, mode: str = "passive") -> None:
        """Bring the log's pages into the database; raise sqlite3.Error where that fails."""
        self.connection.execute(f"pragma wal_checkpoint({mode})").fetchall()

    def prove(self) -> None:
        """Write something durably, and the whole log into the database; raise sqlite3.Error.

        After a failed sync nobody knows what of the log is on the disk, though it reads well: only
        what is written again, and synced then, is.
        """
        ((busy, _, _),) = self.connection.execute("pragma wal_checkpoint(truncate)")
        if busy:
            raise sqlite3.OperationalError("another program reads the database")
        self.connection.execute("update head set commits = commits")

    def close(self) -> None:
        """Let go; what is committed stays."""
        self.connection.close()

    # Reading.

    def head(self) -> tuple[int, int]:
        """Return the count of commits and the last number that was given away."""
        ((commits, last_number),) = self.connection.execute("select commits, last_number from head")
        return commits, last_number

    def taken(self, ids: Iterable[str]) -> set[str]:
        """Return those of `ids` that tasks have."""
        rows = self.connection.execute(
            "select task_id from tasks where task_id in (select value from json_each(?))",
            (_json(list(ids)),),
        )
        return {row[0] for row in rows}

    def get(self, task_id: str) -> Record | None:
        """Return the record of a task, or None; raise Damaged."""
        row = self.connection.execute(
            f"select {_ALL} from tasks where task_id = ?",  # noqa: S608 - our own columns
            (task_id,),
        ).fetchone()
        return None if row is None else self.record(row)

    def unended(self, after: int, limit: int) -> list[str]:
        """Return the ids of the first tasks after number `after` that have not ended, in order.

        Before the first of them it passes over all that have ended: a caller that goes on from the
        last one looks at each row once, however many pieces that takes.
        """
        rows = self.connection.execute(
            "select task_id from tasks"
            " where number > ? and completed_at is null order by number limit ?",
            (after, limit),
        )
        return [task_id for (task_id,) in rows]

    def search(self, query: Query, before: int, limit: int, *, ended: bool = False) -> Found:
        """Look through a limited number of tasks before number `before`, newest first."""
        conditions, values = _conditions(query, ended=ended)
        piece = "select * from tasks where number < ? order by number desc limit ?"
        rows = self.connection.execute(
            f"select {_ALL} from ({piece}) where {conditions} order by number desc limit ?",  # noqa: S608 - values are bound
            (before, SEARCHED_AT_ONCE, *values, limit),
        ).fetchall()
        if len(rows) == limit:
            return Found(rows, rows[-1][NUMBER])
        ((seen, least),) = self.connection.execute(
            "select count(*), min(number) from"
            " (select number from tasks where number < ? order by number desc limit ?)",
            (before, SEARCHED_AT_ONCE),
        )
        return Found(rows, least if seen == SEARCHED_AT_ONCE else None)

    def record(self, row: Row) -> Record:
        """Return the record of a row with its large parts; raise Damaged."""
        verify(row)
        parts: dict[int, bytes] = {}
        if row[LARGE]:
            found = self.connection.execute(
                "select part, bytes, checksum from large where number = ?", (row[NUMBER],)
            )
            for part, content, checksum in found:
                if part_checksum(row[NUMBER], part, content) != checksum:
                    raise Damaged(f"a part of task number {row[NUMBER]} is not as it was written")
                parts[part] = content
        return record_of(row, parts)

    def ended_matching(self, query: Query, before: int) -> tuple[str, int, int, int | None]:
        """Return ended tasks that match as to be forgotten, and the number to go on from."""
        found = self.search(query, before, SEARCHED_AT_ONCE, ended=True)
        numbers = [row[NUMBER] for row in found.rows]
        return _json(numbers), len(numbers), sum(row[SIZE] for row in found.rows), found.before

    # What is to be forgotten: the numbers as a JSON array, how many, and their bytes.

    def ended_before(self, at: float) -> tuple[str, int, int]:
        """Return the tasks that ended first, if at `at` or before."""
        return self._oldest("completed_at <= ?", at)

    def oldest_ended(self, excess: int) -> tuple[str, int, int]:
        """Return the tasks that ended first, so many that they free `excess` bytes."""
        return self._oldest("freed < ?", excess)

    def _oldest(self, condition: str, value: float) -> tuple[str, int, int]:
        order = "order by completed_at, number"
        oldest = f"select completed_at, number, size {_ENDED} {order} limit ?"
        running = f"select *, sum(size) over ({order}) - size as freed from ({oldest})"  # noqa: S608
        ((numbers, count, size),) = self.connection.execute(
            "select json_group_array(number), count(*), cast(total(size) as integer)"  # noqa: S608
            f" from ({running}) where {condition}",
            (FORGOTTEN_AT_ONCE, value),
        )
        return numbers, count, size

    def _write(self, rows: list[Row], statement: Callable[[int], str]) -> int:
        """Write rows, many with each statement; return how many there were to write to."""
        written = 0
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[first : first + _ROWS_AT_ONCE]
            values = [value for row in some for value in row]
            written += self.connection.execute(statement(len(some)), values).rowcount
        return written

    def _change(self, rows: list[Row]) -> None:
        if self._write(rows, _update) != len(rows):
            raise Damaged("a task that has not ended is not in the database any more")

    def _write_parts(self, parts: Mapping[tuple[int, int], bytes | None]) -> None:
        for (number, part), content in parts.items():
            if content is None:
                self.connection.execute(
                    "delete from large where number = ? and part = ?", (number, part)
                )
            else:
                self.connection.execute(
                    "insert or replace into large values (?, ?, ?, ?)",
                    (number, part, content, part_checksum(number, part, content)),
                )

    def _roll_back(self) -> None:
        """Leave the transaction, where the failure has not ended it already."""
        if self.connection.in_transaction:
            self.connection.execute("rollback")


def connect(path: Path) -> sqlite3.Connection:
    """Open a database such that a commit is durable and no other connection can come in."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, cached_statements=256)
    try:
        # Readers of other processes could hold the log back; and SQLite's race of a checkpoint with
        # a writer needs two connections.
        connection.execute("pragma locking_mode = exclusive").fetchall()
        _recognise(connection)
        for setting in (
            "journal_mode = wal",
            "synchronous = full",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {_LOG_BYTES}",
            "cell_size_check = on",
            "trusted_schema = off",
        ):
            connection.execute(f"pragma {setting}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _recognise(connection: sqlite3.Connection) -> None:
    """Raise StoreUnavailable, before anything is changed, if the database is not one of ours."""
    ((application_id,),) = connection.execute("pragma application_id")
    ((version,),) = connection.execute("pragma user_version")
    ((tables,),) = connection.execute("select count(*) from sqlite_schema")
    if application_id != APPLICATION_ID and (version or tables):
        raise StoreUnavailable("it is not a database of vera-worker: choose another store.url")


@cache
def _insert(rows: int) -> str:
    places = _places(len(COLUMNS), rows)
    return f"insert into tasks values {places} on conflict (task_id) do nothing"  # noqa: S608 - question marks


@cache
def _update(rows: int) -> str:
    changes = ", ".join(f"{name} = new.column{i}" for i, name in enumerate(CHANGING, 2))
    places = _places(1 + len(CHANGING), rows)
    return f"update tasks set {changes} from (values {places}) as new where number = new.column1"  # noqa: S608 - our own columns


def _places(columns: int, rows: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def _conditions(query: Query, *, ended: bool) -> tuple[str, list[str]]:
    filters = (
        ("status = ?", query.status and query.status.value),
        ("function = ?", query.function),
        ("exists (select 1 from json_each(tags) where value = ?)", query.tag),
    )
    chosen = [(condition, value) for condition, value in filters if value is not None]
    conditions = [condition for condition, _ in chosen]
    conditions.append("completed_at is not null" if ended else "true")
    return " and ".join(conditions), [value for _, value in chosen]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
