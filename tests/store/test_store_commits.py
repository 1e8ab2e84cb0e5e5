"""How writes share commits, and what becomes of them when a commit fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop
from tests.store.broken_disk import BrokenDisk, until_well
from tests.store.stories import Writer, opened
from vera_supervisor.scheduling.effects import AddTask, StartAttempt
from vera_supervisor.store.protocol import Query, StoreFault, StoreUnavailable
from vera_supervisor.store.sqlite import database as database_module
from vera_supervisor.store.sqlite import writer as writer_module
from vera_supervisor.store.sqlite.database import Database
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record, Spent


class Bench:
    """An open store, its commits, and what is wrong with its disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits: list[float] = []
        self.store = SqliteStore(
            path, result_ttl_s=1e9, max_bytes=1 << 30, on_commit=self.commits.append
        )
        self.writer = Writer(self.store)


@asynccontextmanager
async def bench(directory: Path) -> AsyncIterator[Bench]:
    made = Bench(directory / "tasks.db")
    async with opened(made.store):
        yield made


@on_loop
async def test_what_comes_together_is_committed_together(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        for number in range(100):
            it.writer.add(make_task(f"{number}"))
            it.writer.start(f"{number}")
            it.writer.finish(f"{number}")
        assert set(await it.writer.settled()) == {None}
        assert len(it.commits) == 1
        assert all(seconds > 0 for seconds in it.commits)
        assert len((await it.store.page(Query(limit=1000, status=Status.COMPLETED))).records) == 100


@on_loop
async def test_what_comes_while_a_commit_is_under_way_shares_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, under_way = asyncio.get_running_loop(), asyncio.Event()
    go_on = asyncio.Event()

    def slow(*args: Any) -> bool:
        loop.call_soon_threadsafe(under_way.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return commit(*args)

    commit = Database.commit
    async with bench(tmp_path) as it:
        monkeypatch.setattr(Database, "commit", slow)
        it.writer.add(make_task("first"))
        await under_way.wait()
        for number in range(40):
            it.writer.add(make_task(f"{number}"))
            await asyncio.sleep(0)
        assert it.writer.answers == []
        go_on.set()
        await it.writer.settled()
        assert len(it.commits) == 2


@on_loop
async def test_all_answers_of_a_commit_come_in_one_turn_of_the_loop(tmp_path: Path) -> None:
    turns: set[int] = set()
    turn = 0

    async with bench(tmp_path) as it:
        for number in range(10):
            it.store.add(AddTask(make_task(f"{number}"), 0.0, None), lambda _: turns.add(turn))
        while not turns:
            turn += 1
            await asyncio.sleep(0)
        assert len(turns) == 1


@on_loop
async def test_a_start_that_nobody_waits_for_rides_along(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.writer.add(make_task("a"))
        await it.writer.settled()
        told = asyncio.Event()
        it.store.start(StartAttempt("a", 1, Spent(), acknowledge=False), 1.0, lambda _: told.set())
        it.writer.finish("a")
        assert await it.writer.last() is None
        assert told.is_set()
        assert len(it.commits) == 2


@on_loop
async def test_a_start_that_nobody_waits_for_is_written_soon_even_if_nothing_follows(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as it:
        it.writer.add(make_task("a"))
        await it.writer.settled()
        told = asyncio.Event()
        it.store.start(StartAttempt("a", 1, Spent(), acknowledge=False), 1.0, lambda _: told.set())
        await told.wait()
        assert (await it.writer.record("a")).status is Status.RUNNING


@on_loop
async def test_a_read_never_shows_what_was_not_acknowledged(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        for number in range(200):
            it.writer.add(make_task(f"{number}"))
            found = await it.store.get(f"{number}")
            acknowledged = {n for n, _ in it.writer.answers}
            assert found is None or number in acknowledged


@on_loop
async def test_an_exception_in_one_acknowledgement_does_not_swallow_the_others(
    tmp_path: Path,
) -> None:
    seen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    def broken(_: object) -> None:
        raise RuntimeError("boom")

    async with bench(tmp_path) as it:
        it.store.add(AddTask(make_task("a"), 0.0, None), broken)
        it.writer.add(make_task("b"))
        assert await it.writer.last() is None
    assert str(seen[0]["exception"]) == "boom"


@on_loop
async def test_a_commit_that_fails_fails_all_its_writes_and_none_of_them_is_there(
    tmp_path: Path, disk: BrokenDisk
) -> None:
    async with bench(tmp_path) as it:
        it.writer.add(make_task("before"))
        await it.writer.settled()
        disk.broken = True
        it.writer.add(make_task("a"))
        it.writer.finish("before")
        answers = (await it.writer.settled())[1:]
        assert [type(answer) for answer in answers] == [StoreFault, StoreFault]
        assert it.store.fault == "the store cannot write: disk I/O error"
        it.writer.add(make_task("b"))
        assert isinstance(await it.writer.last(), StoreFault)
        assert not (await it.writer.record("before")).ended, "it can be read all the while"
        disk.broken = False
        await until_well(it.store)
        assert await it.store.get("a") is None
        assert await it.store.get("b") is None
        it.writer.finish("before")
        it.writer.add(make_task("a"))
        assert (await it.writer.settled())[-2:] == [None, None]
        assert (await it.writer.record("a")).number == 2


@on_loop
async def test_a_commit_that_was_carried_out_but_said_to_fail_is_found_again(
    tmp_path: Path, disk: BrokenDisk
) -> None:
    async with bench(tmp_path) as it:
        disk.broken = disk.carries_out = True
        it.writer.add(make_task("a"))
        assert isinstance(await it.writer.last(), StoreFault)
        disk.broken = False
        await until_well(it.store)
        it.writer.add(make_task("a"))
        assert isinstance(await it.writer.last(), Record)
        it.writer.finish("a")
        assert await it.writer.last() is None
        assert len((await it.store.page(Query())).records) == 1


@on_loop
async def test_a_bug_fails_its_batch_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as it:
        with monkeypatch.context() as patch:
            patch.setattr(Database, "commit", lambda *_: 1 / 0)
            it.writer.add(make_task("a"))
            assert isinstance(await it.writer.last(), StoreFault)
        await until_well(it.store)
        it.writer.add(make_task("a"))
        assert await it.writer.last() is None


@on_loop
async def test_an_ended_id_is_noticed_among_new_ones(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.writer.add(make_task("old", digest=b"1"))
        it.writer.finish("old")
        await it.writer.settled()
        for number in range(100):
            it.writer.add(make_task(f"{number}"))
        it.writer.add(make_task("old", digest=b"2"))
        it.writer.start("old")
        answers = await it.writer.settled()
        assert answers[2:102] == [None] * 100
        assert isinstance(answers[102], Record)
        assert answers[102].task.digest == b"1"
        assert isinstance(answers[103], StoreFault)
        assert [r.number for r in await it.store.unended(0, 200)] == list(range(2, 102))


@on_loop
async def test_large_parts_are_replaced_and_taken_away_with_their_task(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.writer.add(make_task("a", payload=b"p" * 5000))
        it.writer.requeue("a", output=b"o" * 5000)
        assert (await it.writer.record("a")).output == b"o" * 5000
        it.writer.requeue("a", output=b"short")
        record = await it.writer.record("a")
        assert (record.task.payload, record.output) == (b"p" * 5000, b"short")
        it.writer.finish("a", result=b"r" * 5000)
        record = await it.writer.record("a")
        assert (record.result, record.output) == (b"r" * 5000, b"")
        kept = (
            "select (select count(*) from tasks where result is null), (select count(*) from large)"
        )
        found = await it.store._read(lambda database: database.connection.execute(kept).fetchone())
        assert found == (1, 2), "payload and result are not in the row"
        assert await it.store.forget(Query()) == 1
        left = await it.store._read(
            lambda database: database.connection.execute("select count(*) from large").fetchone()
        )
        assert left == (0,)


@on_loop
async def test_all_comes_back_after_the_store_was_closed(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        it.writer.add(make_task("a"))
        it.writer.add(make_task("b"))
        it.writer.requeue("a", output=b"o")
        it.writer.finish("b")
        before = await it.writer.record("a")
    assert not (tmp_path / "tasks.db-wal").exists(), "the log was brought in"
    async with bench(tmp_path) as it:
        assert await it.writer.record("a") == before
        assert [record.task.task_id for record in await it.store.unended(0, 9)] == ["a"]
        it.writer.start("a", 2)
        it.writer.add(make_task("c"))
        assert await it.writer.last() is None
        assert (await it.writer.record("c")).number == 3


@on_loop
async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    it = Bench(tmp_path / "tasks.db")
    await it.store.open()
    it.writer.add(make_task("a"))
    await it.store.close()
    assert await it.writer.settled() == [None], "what was told before is still written"
    it.writer.add(make_task("b"))
    assert await it.writer.last() == StoreFault("the store is closed")
    with pytest.raises(StoreUnavailable):
        await it.store.get("a")
    await it.store.close()


@on_loop
async def test_a_store_that_cannot_be_opened_anew_says_why_to_those_who_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(writer_module, "RETRY_S", 0.01)
    async with bench(tmp_path) as it:
        it.writer.add(make_task("a"))
        assert await it.writer.last() is None
        with monkeypatch.context() as patch:
            patch.setattr(Database, "commit", fail)
            patch.setattr(database_module, "connect", fail)
            it.writer.add(make_task("b"))
            assert isinstance(await it.writer.last(), StoreFault)
            it.writer.add(make_task("c"))  # first the store is tried to be opened
            assert isinstance(await it.writer.last(), StoreFault)
            with pytest.raises(StoreUnavailable, match=r"^the store cannot write: disk I/O error$"):
                await it.store.get("a")
        await until_well(it.store)
        assert (await it.writer.record("a")).task.task_id == "a"


@on_loop
async def test_the_log_is_brought_in_as_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_CHECKPOINT_BYTES", 100_000)
    async with bench(tmp_path) as it:
        for number in range(100):
            it.writer.add(make_task(f"{number}", payload=b"x" * 20_000))
            await it.writer.settled()
        assert (tmp_path / "tasks.db-wal").stat().st_size < 1_000_000
        assert (tmp_path / "tasks.db").stat().st_size > 1_500_000


@on_loop
async def test_a_page_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vera_supervisor.store.sqlite.store.PAGE_BYTES", 50_000)
    async with bench(tmp_path) as it:
        for number in range(10):
            it.writer.add(make_task(f"{number}", payload=b"x" * 20_000))
        await it.writer.settled()
        seen: list[str] = []
        query = Query(limit=8)
        while True:
            page = await it.store.page(query)
            assert 0 < len(page.records) <= 3
            seen += [record.task.task_id for record in page.records]
            if page.cursor is None:
                break
            query = Query(limit=8, cursor=page.cursor)
        assert seen == [f"{number}" for number in reversed(range(10))]


@on_loop
async def test_room_that_cannot_be_made_is_a_fault_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> tuple[str, int, int]:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(writer_module, "RETRY_S", 0.01)
    store = SqliteStore(tmp_path / "tasks.db", result_ttl_s=1e9, max_bytes=1)
    async with opened(store):
        writer = Writer(store)
        with monkeypatch.context() as patch:
            patch.setattr(Database, "oldest_ended", unreadable)
            writer.add(make_task("a"))
            writer.finish("a")
            assert await writer.last() is None
            while store.fault is None:  # noqa: ASYNC110 - the store has no event for it
                await asyncio.sleep(0)
        await until_well(store)
        writer.add(make_task("b"))
        assert await writer.last() is None
