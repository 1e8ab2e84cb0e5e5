"""Inspecting a database, all of it, before a worker relies on it."""

import sqlite3
from pathlib import Path

import msgspec

from vera_supervisor.store.protocol import StoreUnavailable, UnavailableNow
from vera_supervisor.store.sqlite.database import Database
from vera_supervisor.store.sqlite.migrations import migrate, schema, schema_of
from vera_supervisor.store.sqlite.rows import (
    COLUMNS,
    COMPLETED_AT,
    LARGE,
    NUMBER,
    SIZE,
    TASK_ID,
    Damaged,
    Entry,
    entry_of,
    part_checksum,
    task_of,
    verify,
)


class Stock(msgspec.Struct):
    """What a database holds, as far as it is kept in memory."""

    #: The tasks that have not ended, by id, in order of acceptance.
    live: dict[str, Entry]
    commits: int
    last_number: int
    #: Bytes of the tasks that have ended.
    ended_bytes: int


def open_database(path: Path, commits: int, *, keep_tasks: bool) -> tuple[Database, Stock]:
    """Open a database that has at least so many commits; raise StoreUnavailable.

    `keep_tasks`: those that have not ended are about to be taken up, and are not read once more.
    """
    try:
        database = Database(path)
        try:
            return database, _inspect(database, commits, keep_tasks=keep_tasks)
        except BaseException:
            database.close()
            raise
    except StoreUnavailable as error:
        raise StoreUnavailable(f"the store {path} cannot be opened: {error}") from error
    except sqlite3.OperationalError as error:
        if _is_damage(error):
            raise _damaged(path, error) from error
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            raise UnavailableNow(
                f"the store {path} cannot be opened: another program has it open: end that one"
            ) from error
        kind = UnavailableNow if _is_of_disk(error) else StoreUnavailable
        raise kind(f"the store {path} cannot be opened: {error}") from error
    except (sqlite3.DatabaseError, Damaged) as error:
        raise _damaged(path, error) from error


def _inspect(database: Database, commits: int, *, keep_tasks: bool) -> Stock:
    connection = database.connection
    if commits and not connection.execute("select count(*) from sqlite_schema").fetchone()[0]:
        raise Damaged(f"it is empty and has had {commits} commits")
    migrate(connection)
    if schema_of(connection) != schema():
        raise Damaged("its tables are not those of this version")
    faults = [line for (line,) in connection.execute("pragma integrity_check(1)")]
    if faults != ["ok"]:
        raise Damaged(" ".join(str(faults[0]).split()))
    return _take_stock(database, commits, keep_tasks=keep_tasks)


def _take_stock(database: Database, noted: int, *, keep_tasks: bool) -> Stock:
    heads = database.connection.execute("select commits, last_number from head").fetchall()
    if len(heads) != 1 or not all(type(value) is int for value in heads[0]):
        raise Damaged("it does not say how many commits it has had")
    commits, last_number = heads[0]
    if commits < noted:
        raise Damaged(f"{noted - commits} of {noted} commits are lost")
    stock = Stock({}, commits, last_number, 0)
    large = _large_parts(database)
    rows = database.connection.execute(f"select {', '.join(COLUMNS)} from tasks order by number")  # noqa: S608 - our own columns
    for row in rows:
        seed = verify(row)
        if row[LARGE] != large.pop(row[NUMBER], 0):
            raise Damaged(f"a part of task number {row[NUMBER]} is missing")
        if row[COMPLETED_AT] is None:
            stock.live[row[TASK_ID]] = entry = entry_of(row, seed)
            if keep_tasks and not entry.large:
                entry.task = task_of(row, {})
        else:
            stock.ended_bytes += row[SIZE]
        if row[NUMBER] > last_number:
            raise Damaged(f"task number {row[NUMBER]} was never given away")
    if large:
        raise Damaged(f"task number {min(large)} is missing")
    return stock


def _large_parts(database: Database) -> dict[int, int]:
    """Return which large parts there are, by number of the task."""
    large: dict[int, int] = {}
    parts = database.connection.execute("select number, part, bytes, checksum from large")
    for number, part, content, checksum in parts:
        if type(content) is not bytes or part_checksum(number, part, content) != checksum:
            raise Damaged(f"a part of task number {number} is not as it was written")
        large[number] = large.get(number, 0) | part
    return large


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """A text that is not UTF-8 is reported by Python, without one of SQLite's codes."""
    return getattr(error, "sqlite_errorcode", None) in (None, sqlite3.SQLITE_ERROR)


def _is_of_disk(error: sqlite3.OperationalError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what it says of the details
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _damaged(path: Path, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"the store {path} is damaged ({error}): put a copy back in its place, or move {path.name} "
        f"and the files named like it away to begin with none"
    )
