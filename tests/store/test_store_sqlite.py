"""The durable store keeps the promises of all stores."""

from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import pytest

from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop
from tests.store.conformance import StoreConformance
from tests.store.stories import KILOBYTE, MAX_BYTES, NOW, TTL_S, StoreMaker, Writer, opened
from vera_supervisor.store.protocol import Query, Store
from vera_supervisor.store.sqlite.rows import LARGE_BYTES
from vera_supervisor.store.sqlite.store import SqliteStore


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> StoreMaker:
        numbers = count()

        def make() -> AbstractAsyncContextManager[Store]:
            path = tmp_path / f"{next(numbers)}" / "tasks.db"
            return opened(SqliteStore(path, result_ttl_s=TTL_S, max_bytes=MAX_BYTES))

        return make


@on_loop
async def test_what_is_taken_up_after_a_restart_is_what_was_stored(tmp_path: Path) -> None:
    def store() -> SqliteStore:
        return SqliteStore(tmp_path / "tasks.db", result_ttl_s=TTL_S, max_bytes=MAX_BYTES)

    long = b'{"function":"f","args":["%s"]}' % (b"x" * LARGE_BYTES)
    async with opened(store()) as before:
        writer = Writer(before)
        writer.add(make_task("new"))
        writer.add(make_task("long", payload=long))
        writer.add(make_task("running"))
        writer.start("running")
        writer.add(make_task("again"))
        writer.start("again")
        writer.requeue("again", 1, b"so far")
        writer.add(make_task("wordy"))
        writer.start("wordy")
        writer.requeue("wordy", 1, b"w" * LARGE_BYTES * 2)
        await writer.settled()
    async with opened(store()) as after:
        for _ in range(2):  # the first time they are at hand, the second time they are read
            records = await after.unended(0, 9)
            names = [record.task.task_id for record in records]
            assert names == ["new", "long", "running", "again", "wordy"]
            for record in records:
                assert record == await after.get(record.task.task_id)


@on_loop
async def test_what_ended_before_a_restart_counts_when_room_runs_out(tmp_path: Path) -> None:
    def store() -> SqliteStore:
        return SqliteStore(tmp_path / "tasks.db", result_ttl_s=1e9, max_bytes=MAX_BYTES)

    async with opened(store()) as before:
        writer = Writer(before)
        for number in range(40):
            writer.add(make_task(f"{number}"))
            writer.finish(f"{number}", result=KILOBYTE)
        await writer.settled()
    async with opened(store()) as after:
        writer = Writer(after)
        for number in range(40, 80):
            writer.add(make_task(f"{number}"))
            writer.finish(f"{number}", result=KILOBYTE)
        await writer.settled()
        await after.prune(NOW)
        left = len((await after.page(Query())).records)
        assert left * len(KILOBYTE) <= MAX_BYTES
