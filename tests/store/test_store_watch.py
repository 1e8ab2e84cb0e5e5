"""A store that hangs is noticed though nobody submits anything; one that fails is outlived."""

import asyncio
import threading
from pathlib import Path

import pytest

from tests.fakes.fake_clock import FakeClock
from tests.fakes.on_loop import on_loop
from tests.store.stories import opened
from vera_supervisor.housekeeping import StoreWatch, prune, prune_interval_s
from vera_supervisor.store.protocol import StoreUnavailable
from vera_supervisor.store.sqlite.store import SqliteStore


def test_the_thread_hangs_and_comes_back(tmp_path: Path) -> None:
    async def story() -> None:
        store = SqliteStore(tmp_path / "tasks.db", result_ttl_s=1e9, max_bytes=1 << 30)
        clock, go_on, hung = FakeClock(), threading.Event(), asyncio.Event()
        watch = StoreWatch(store, clock)
        async with opened(store):
            await watch.ask()
            clock.pass_time(100)
            assert watch.silent_s == 0
            loop = asyncio.get_running_loop()

            def hang(_: object) -> None:
                loop.call_soon_threadsafe(hung.set)
                go_on.wait()

            hanging = asyncio.ensure_future(store._ask(hang))
            await hung.wait()
            asked = asyncio.create_task(watch.ask())
            await asyncio.sleep(0)
            clock.pass_time(7)
            assert watch.silent_s == 7
            go_on.set()
            await asyncio.gather(hanging, asked)
            assert watch.silent_s == 0

    asyncio.run(asyncio.wait_for(story(), 60))


def test_an_answer_that_it_cannot_read_is_an_answer() -> None:
    class Unreadable:
        async def get(self, _: str) -> None:
            raise StoreUnavailable("the disk is gone")

    async def story() -> None:
        clock = FakeClock()
        watch = StoreWatch(Unreadable(), clock)  # type: ignore[arg-type]
        await watch.ask()
        clock.pass_time(100)
        assert watch.silent_s == 0

    asyncio.run(story())


@on_loop
async def test_what_is_kept_too_long_is_forgotten_once_the_store_can_be_read_again() -> None:
    class UnreadableTwice:
        asked = 0
        pruned = asyncio.Event()

        async def prune(self, _: float) -> int:
            self.asked += 1
            if self.asked <= 2:
                raise StoreUnavailable("the disk is gone")
            self.pruned.set()
            return 1

    store = UnreadableTwice()
    pruning = asyncio.create_task(prune(store, FakeClock(), 0.0))  # type: ignore[arg-type]
    pruned = asyncio.create_task(store.pruned.wait())
    await asyncio.wait([pruning, pruned], return_when=asyncio.FIRST_COMPLETED)
    assert not pruning.done(), "the worker would end with it"
    pruning.cancel()


@pytest.mark.parametrize(
    ("result_ttl_s", "interval_s"), [(0.0, 1.0), (2.0, 1.0), (60.0, 6.0), (86400.0, 30.0)]
)
def test_the_sooner_results_expire_the_more_often_it_is_looked(
    result_ttl_s: float, interval_s: float
) -> None:
    assert prune_interval_s(result_ttl_s) == interval_s
