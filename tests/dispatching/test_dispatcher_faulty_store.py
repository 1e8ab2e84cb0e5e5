"""Clients that ask again, by id, get one task each, however often the store denies it (D5)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.fakes.fake_clock import FakeClock
from tests.fakes.fake_pool import FakePool
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.makers import make_policy, make_task
from tests.store.stories import opened
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.journal import Journal
from vera_supervisor.metrics import Metrics
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.effects import Accept
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_supervisor.store.memory import MemoryStore
from vera_supervisor.store.protocol import Query, Store
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_worker.lifecycle import Status

TASKS = 10_000
CLIENTS = 50


class BusyPool(FakePool):
    """Executors that end each task at the next turn of the loop, and count what they ran."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher.post)
        self.ran: Counter[str] = Counter()

    def assign(self, effect: fx.Assign) -> None:
        super().assign(effect)
        self.ran[effect.task.task_id] += 1
        asyncio.get_running_loop().call_soon(self.end, effect.task.task_id)


def memory(_: Path) -> Store:
    return MemoryStore(result_ttl_s=1e9, max_bytes=1 << 40)


def sqlite(directory: Path) -> Store:
    return SqliteStore(directory / "tasks.db", result_ttl_s=1e9, max_bytes=1 << 40)


@pytest.mark.parametrize("make_store", [memory, sqlite])
def test_ten_thousand_submissions_are_ten_thousand_tasks(
    tmp_path: Path, make_store: Callable[[Path], Store]
) -> None:
    async def story() -> None:
        store = FaultyStore(make_store(tmp_path), 5, done=0.2, not_done=0.05)
        async with opened(store):
            await submit_all(store)

    asyncio.run(story())


async def submit_all(store: FaultyStore) -> None:
    """Submit all tasks until each is accepted, let them run, and look at what became of them."""
    clock = FakeClock()
    policy = make_policy(min_workers=2, max_workers=2, queue_size=TASKS)
    scheduler = Scheduler(policy, Random(7))
    dispatcher = Dispatcher(scheduler, store, Journal(), Metrics(), clock)
    pool = BusyPool(dispatcher)
    dispatcher.attach(pool.as_pool())
    dispatcher.post(ev.TimePassed())
    pool.get_ready()
    answers: Counter[str] = Counter()

    async def client(number: int) -> None:
        for task_number in range(number, TASKS, CLIENTS):
            task = make_task(f"t{task_number}", digest=b"d")
            while not isinstance(answer := await dispatcher.submit(task), Accept):
                answers[answer.refusal] += 1
                await asyncio.sleep(0)
            answers["known" if answer.known else "new"] += 1

    await asyncio.gather(*map(client, range(CLIENTS)))
    while scheduler.live:  # ends that the store has denied are told again after a second
        clock.pass_time(1.0)
        await asyncio.sleep(0)

    assert store.lies > TASKS * 0.4, "of two writes a task, a fifth each"
    assert answers[fx.Refusal.STORE] > TASKS * 0.2
    assert answers["known"] > TASKS * 0.1, "stored before, and denied"
    ids: Counter[str] = Counter()
    query = Query(limit=1000)
    while True:
        page = await store.page(query)
        ids.update(record.task.task_id for record in page.records)
        assert {record.status for record in page.records} == {Status.COMPLETED}
        if page.cursor is None:
            break
        query = Query(limit=1000, cursor=page.cursor)
    assert ids == Counter(f"t{number}" for number in range(TASKS))
    assert pool.ran == ids, "each of them ran once"
