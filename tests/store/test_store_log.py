"""The log beside the database stays small, whoever reads and however much is written (D8, D9)."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop
from tests.store.broken_disk import BrokenDisk, until_well
from tests.store.stories import KILOBYTE, Writer, opened
from tests.support.processes import slack_s
from vera_supervisor.store.protocol import Query, StoreFault, UnavailableNow
from vera_supervisor.store.sqlite.database import Database
from vera_supervisor.store.sqlite.store import SqliteStore

WRITES: Final = 30_000
MOST_BYTES: Final = 64 << 20
MEGABYTE: Final = b"x" * (1 << 20)
TRUNCATED_WITHIN_S: Final = 2.0


def make_store(path: Path) -> SqliteStore:
    return SqliteStore(path, result_ttl_s=1e9, max_bytes=1 << 40)


def log_of(path: Path) -> Path:
    return Path(f"{path}-wal")


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Return what grows by the size of the log after each commit."""
    seen: list[int] = []
    commit = Database.commit

    def measured(database: Database, *args: Any) -> bool:
        done = commit(database, *args)
        seen.append(log_of(tmp_path / "tasks.db").stat().st_size)
        return done

    monkeypatch.setattr(Database, "commit", measured)
    return seen


@contextmanager
def reader(path: Path) -> Iterator[list[int]]:
    """Let another connection ask to read again and again, and keep on reading once it may."""
    asked = [0, 0]  # in vain, and not
    began, stop = threading.Event(), threading.Event()

    def read() -> None:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        while not stop.is_set() and not asked[1]:
            try:
                connection.execute("begin")
                connection.execute("select count(*) from tasks").fetchone()
                asked[1] += 1
            except sqlite3.OperationalError:
                connection.execute("rollback")
                asked[0] += 1
            began.set()
            stop.wait(0.001)
        stop.wait()
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    began.wait()
    try:
        yield asked
    finally:
        stop.set()
        thread.join()


@on_loop
async def test_a_reader_cannot_make_the_log_grow(tmp_path: Path, sizes: list[int]) -> None:
    path = tmp_path / "tasks.db"
    async with opened(make_store(path)) as store:
        writer = Writer(store)
        with reader(path) as asked:
            for number in range(0, WRITES // 2, 100):
                for task in range(number, number + 100):
                    writer.add(make_task(f"{task}", payload=KILOBYTE * 2))
                    writer.finish(f"{task}", result=KILOBYTE * 2)
                await store.page(Query(limit=10))
            await writer.settled()
        assert len(writer.answers) == WRITES
        assert asked[0] > 0
        assert asked[1] == 0, "nobody else gets in"
        assert max(sizes) <= MOST_BYTES
        began = time.monotonic()
    assert time.monotonic() - began < TRUNCATED_WITHIN_S + slack_s()
    assert not log_of(path).exists()


@on_loop
async def test_a_flood_of_writes_cannot_make_the_log_grow(tmp_path: Path, sizes: list[int]) -> None:
    async with opened(make_store(tmp_path / "tasks.db")) as store:
        writer = Writer(store)
        for number in range(6000):
            writer.add(make_task(f"{number}", payload=KILOBYTE * 2))
        await writer.settled()
        assert max(sizes) <= MOST_BYTES // 4


@on_loop
async def test_large_writes_cannot_make_the_log_grow(tmp_path: Path, sizes: list[int]) -> None:
    async with opened(make_store(tmp_path / "tasks.db")) as store:
        writer = Writer(store)
        for number in range(48):
            writer.add(make_task(f"{number}", payload=MEGABYTE))
        for number in range(6):
            writer.finish(f"{number}", result=MEGABYTE * 5, output=MEGABYTE)
        assert not [answer for answer in await writer.settled() if isinstance(answer, StoreFault)]
        assert len(sizes) < 20, "they still come together"
        assert max(sizes) <= MOST_BYTES


def connections(path: Path) -> int:
    """Return how many descriptors this process has of a file."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            links.append(entry.readlink())
    return links.count(path)


@on_loop
async def test_there_is_one_connection_at_most_also_while_the_database_is_opened_anew(
    tmp_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks.db"
    seen: set[int] = set()

    def look(call: Callable[..., Any]) -> Callable[..., Any]:
        def looking(*args: Any) -> Any:
            seen.add(connections(path))
            return call(*args)

        return looking

    for name in ("commit", "prove", "head", "close"):
        monkeypatch.setattr(Database, name, look(getattr(Database, name)))
    async with opened(make_store(path)) as store:
        writer = Writer(store)
        disk.broken = True
        writer.add(make_task("a"))
        assert isinstance(await writer.last(), StoreFault)
        disk.broken = False
        await until_well(store)
        writer.add(make_task("a"))
        assert await writer.last() is None
        assert connections(path) == 1
    assert seen == {1}
    assert connections(path) == 0


def test_a_program_that_reads_already_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    asyncio.run(open_and_close(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("pragma journal_mode = wal")
    other.execute("begin")
    other.execute("select count(*) from tasks").fetchone()
    # Who copies the file has done so in a moment: the service manager tries again.
    with pytest.raises(UnavailableNow, match=r"another program has it open: end that one"):
        asyncio.run(open_and_close(path))
    other.close()
    asyncio.run(open_and_close(path))


async def open_and_close(path: Path) -> None:
    async with opened(make_store(path)):
        pass
