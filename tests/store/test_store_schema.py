"""Databases of every version are opened, brought up to date, or refused (U1, U2).

A golden database is a dump of what its version wrote. Those of released versions never change.
"""

import asyncio
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.makers import make_task
from tests.store import killed_migration
from tests.store.stories import BOOM, KILOBYTE, NOW, SPENT, Writer, opened
from tests.store.traced import ROOT, records_in
from vera_supervisor.store.protocol import Query, StoreUnavailable
from vera_supervisor.store.sqlite import migrations
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_supervisor.store.sqlite.versions import wal_reset_warning
from vera_supervisor.store.url import database_path
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record

MIGRATIONS = Path(migrations.__file__).parent
#: SHA-256 of each migration and of its golden database: there are databases out there that look so.
RELEASED = {
    "0001_tasks.sql": (
        "cec845651a9fe274e685bab22124d38c5404ce7952502df2d264621de0120b1f",
        "ba0b0397fb3a969ce9ee392e96ab2bc96261ede6c2e8c9fafa250646d97b8250",
    ),
}
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.sql"))


def restore(script: Path, path: Path) -> None:
    """Make a database of a dump."""
    connection = sqlite3.connect(path)
    connection.executescript(script.read_text())
    connection.close()


@pytest.mark.parametrize("script", GOLDEN, ids=lambda script: script.stem)
def test_a_database_of_every_version_so_far_keeps_its_tasks(tmp_path: Path, script: Path) -> None:
    restore(script, tmp_path / "tasks.db")
    for _ in range(2):  # also when it has been brought up to date
        records = records_in(tmp_path / "tasks.db")
        assert {name: record.status for name, record in records.items()} == {
            "queued": Status.QUEUED,
            "running": Status.RUNNING,
            "again": Status.QUEUED,
            "completed": Status.COMPLETED,
            "failed": Status.FAILED,
            "cancelled": Status.CANCELLED,
        }
        assert records["queued"].task == make_task("queued", tags=("x", "y"), metadata=b'{"k":1}')
        assert (records["running"].attempt, records["running"].started_at) == (1, NOW)
        again = records["again"]
        assert (again.spent, again.ready_at, again.failure) == (SPENT, NOW + 1.0, BOOM)
        assert again.output == KILOBYTE * 3
        assert records["completed"].result == b'{"a":[1]}'
        assert records["failed"].failure == BOOM
        assert [record.number for record in records.values()] == [6, 5, 4, 3, 2, 1]


def test_todays_schema_has_a_golden_database() -> None:
    assert [script.name for script in GOLDEN] == sorted(m.name for m in MIGRATIONS.glob("*.sql"))


@pytest.mark.parametrize("name", RELEASED)
def test_what_was_released_never_changes(name: str) -> None:
    files = (MIGRATIONS / name, GOLDEN[0].with_name(name))
    sums = tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert sums == RELEASED[name], "a change of the schema is a migration of its own"


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    restore(GOLDEN[-1], tmp_path / "tasks.db")
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(StoreUnavailable, match=r"tasks\.db .* schema is 99 .* newer version"):
        records_in(tmp_path / "tasks.db")


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.execute("create table songs (title)")
    connection.close()
    before = (tmp_path / "tasks.db").read_bytes()
    with pytest.raises(StoreUnavailable, match="not a database of vera-worker"):
        records_in(tmp_path / "tasks.db")
    assert (tmp_path / "tasks.db").read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_text("notes of mine\n" * 500)
    with pytest.raises(StoreUnavailable, match="not a database"):
        records_in(tmp_path / "tasks.db")


@pytest.mark.parametrize("script", [None, *GOLDEN], ids=lambda script: script and script.stem)
def test_a_migration_that_is_killed_at_any_statement_is_done_by_the_next_start(
    tmp_path: Path, script: Path | None
) -> None:
    """U2."""
    original = tmp_path / "original.db"
    if script is None:
        original.touch()
    else:
        restore(script, original)
    before = records_of(original, tmp_path / "copy.db")
    command = [sys.executable, killed_migration.__file__, str(original)]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    attempts = list(tmp_path.glob("[0-9]*.db"))
    assert len(attempts) > (8 if script is None else 1)
    for attempt in attempts:
        assert records_in(attempt) == before


def records_of(database: Path, copy: Path) -> dict[str, Record]:
    """Return what a database holds without touching it."""
    shutil.copy(database, copy)
    return records_in(copy)


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_the_versions_with_the_wal_reset_bug(version: tuple[int, int, int], affected: bool) -> None:
    warning = wal_reset_warning(version)
    assert (warning is not None) is affected
    assert warning is None or "WAL-reset bug" in warning


def test_urls() -> None:
    assert database_path("memory:") is None
    assert database_path("sqlite:///var/tasks.db") == Path("var/tasks.db")
    assert database_path("sqlite:////srv/vera/tasks.db") == Path("/srv/vera/tasks.db")


async def write_golden(path: Path) -> None:
    """Write the tasks of a golden database; dump it with `sqlite3 FILE .dump`."""
    store = SqliteStore(path, result_ttl_s=1e9, max_bytes=1 << 30)
    async with opened(store):
        writer = Writer(store)
        writer.add(make_task("queued", tags=("x", "y"), metadata=b'{"k":1}'))
        for name in ("running", "again", "completed", "failed", "cancelled"):
            writer.add(make_task(name))
            writer.start(name)
        writer.requeue("again", output=KILOBYTE * 3)
        writer.finish("completed", result=b'{"a":[1]}', output=b"said")
        writer.finish("failed", status=Status.FAILED, result=None, failure=BOOM)
        writer.finish("cancelled", status=Status.CANCELLED, result=None, failure=BOOM)
        await writer.settled()
        assert len((await store.page(Query())).records) == 6


def test_the_golden_database_is_what_is_written_today(tmp_path: Path) -> None:
    asyncio.run(write_golden(tmp_path / "new" / "tasks.db"))
    restore(GOLDEN[-1], tmp_path / "golden.db")
    assert records_in(tmp_path / "new" / "tasks.db") == records_in(tmp_path / "golden.db")
