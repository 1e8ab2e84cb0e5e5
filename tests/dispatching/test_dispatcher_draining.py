"""The end of work: wait for what runs, then put back what still does."""

import asyncio

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop, turn
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_worker.lifecycle import Status


def submit(bench: Bench, task_id: str) -> None:
    bench.dispatcher.post(ev.Submitted(make_task(task_id)))
    bench.store.acknowledge()


@on_loop
async def test_a_drain_ends_when_nothing_runs() -> None:
    bench = Bench(2)
    submit(bench, "a")
    submit(bench, "b")
    draining = asyncio.create_task(bench.dispatcher.drain(1e6))
    await turn()
    bench.pool.end("a")
    await turn()
    assert not draining.done()
    bench.pool.end("b")
    await draining
    bench.store.acknowledge()
    assert bench.metrics.completed == 2


@on_loop
async def test_a_drain_without_work_ends_at_once_and_the_executors_go() -> None:
    bench = Bench(2)
    await bench.dispatcher.drain(1e6)
    assert bench.pool.told == [fx.Kill(1), fx.Kill(2)]
    assert bench.pool.launched == []


@on_loop
async def test_after_its_time_what_runs_is_put_back_without_a_charge() -> None:
    bench = Bench()
    submit(bench, "a")
    draining = asyncio.create_task(bench.dispatcher.drain(0.0))
    while not bench.pool.told:
        await turn()
    assert bench.pool.told == [fx.DumpStack(1)]
    assert not draining.done(), "it lives until its executor is gone"
    bench.pool.lose("a")
    await draining
    bench.store.acknowledge()
    record = await bench.store.get("a")
    assert record is not None
    assert (record.status, record.attempt) == (Status.QUEUED, 0)


@on_loop
async def test_an_interruption_ends_a_drain_that_is_under_way() -> None:
    bench = Bench()
    submit(bench, "a")
    draining = asyncio.create_task(bench.dispatcher.drain(1e6))
    await turn()
    interrupting = asyncio.create_task(bench.dispatcher.interrupt())
    await turn()
    bench.pool.lose("a")
    await asyncio.gather(draining, interrupting)
