"""What clients are answered, and when; what happens when they do not stay to hear it."""

import asyncio

import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop, turn
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.effects import Refusal
from vera_worker.lifecycle import Status


@on_loop
async def test_a_submission_is_answered_once_it_is_stored_and_not_before() -> None:
    bench = Bench()
    asked = asyncio.create_task(bench.dispatcher.submit(make_task("a")))
    await turn()
    assert not asked.done()
    assert bench.store.pending == 1
    assert await bench.dispatcher.records.get("a") is None, "it is no one's business before"
    bench.store.acknowledge()
    assert await asked == fx.Accept("a", Status.QUEUED, 1, known=False)


@on_loop
async def test_a_submission_that_is_not_stored_is_refused() -> None:
    bench = Bench()
    asked = asyncio.create_task(bench.dispatcher.submit(make_task("a")))
    await turn()
    bench.store.fail()
    answer = await asked
    assert isinstance(answer, fx.Refuse)
    assert answer.refusal is Refusal.STORE
    assert bench.metrics.refusals == {Refusal.STORE: 1}


@on_loop
async def test_a_client_that_goes_away_loses_nothing() -> None:
    bench = Bench()
    asked = asyncio.create_task(bench.dispatcher.submit(make_task("a")))
    await turn()
    asked.cancel()
    await asyncio.wait([asked])
    bench.store.acknowledge()
    assert list(bench.pool.assigned) == ["a"]
    bench.pool.end("a")
    bench.store.acknowledge()
    record = await bench.dispatcher.records.get("a")
    assert record is not None
    assert record.status is Status.COMPLETED


@on_loop
async def test_a_client_that_goes_away_takes_no_one_else_with_it() -> None:
    bench = Bench()
    first, second = (asyncio.create_task(bench.dispatcher.submit(make_task("a"))) for _ in range(2))
    await turn()
    first.cancel()
    await asyncio.wait([first])
    bench.store.acknowledge()
    assert isinstance(await second, fx.Accept)


@on_loop
async def test_fifty_at_once_with_one_id_and_one_body_are_one_task() -> None:
    bench = Bench()
    asked = [asyncio.create_task(bench.dispatcher.submit(make_task("a"))) for _ in range(50)]
    await turn()
    assert bench.store.pending == 1
    bench.store.acknowledge()
    answers = [await one for one in asked]
    assert answers[0] == fx.Accept("a", Status.QUEUED, 1, known=False)
    assert set(answers[1:]) == {fx.Accept("a", Status.QUEUED, 1, known=True)}, "it is one task"
    assert bench.scheduler.running == 1


@on_loop
async def test_of_two_bodies_for_one_id_at_once_the_second_is_a_conflict() -> None:
    bench = Bench()
    first = asyncio.create_task(bench.dispatcher.submit(make_task("a", digest=b"one")))
    second = asyncio.create_task(bench.dispatcher.submit(make_task("a", digest=b"two")))
    await turn()
    answer = await second
    assert isinstance(answer, fx.Refuse)
    assert answer.refusal is Refusal.CONFLICT
    assert not first.done()
    bench.store.acknowledge()
    assert isinstance(await first, fx.Accept)


@on_loop
async def test_delay_and_expiry_are_passed_on() -> None:
    bench = Bench()
    asked = asyncio.create_task(
        bench.dispatcher.submit(make_task("a"), delay_s=5.0, expires_in_s=9.0)
    )
    await turn()
    bench.store.acknowledge()
    assert await asked == fx.Accept("a", Status.QUEUED, None, known=False)
    assert bench.clock.armed[0] == bench.clock.now() + 5.0
    assert bench.scheduler.live["a"].expires_at == bench.clock.now() + 9.0
    bench.clock.pass_time(5.0)
    assert list(bench.pool.assigned) == ["a"]


@on_loop
async def test_answers_do_not_pile_up() -> None:
    bench = Bench(queue_size=3)
    for number in range(20):
        asked = asyncio.create_task(bench.dispatcher.submit(make_task(f"{number}")))
        await turn()
        if bench.store.pending:
            bench.store.acknowledge()
        await asked
    assert bench.dispatcher._answers == {}
    assert bench.metrics.refusals == {Refusal.QUEUE_FULL: 16}


@on_loop
async def test_once_detached_it_decides_nothing_more() -> None:
    bench = Bench(check_interval_s=10.0)
    assert bench.clock.armed
    bench.dispatcher.detach()
    assert bench.clock.armed == []
    bench.dispatcher.post(ev.ExecutorLost(1, "the pool was closed"))
    assert bench.pool.launched == []


@pytest.mark.parametrize("executors", [1, 2])
@on_loop
async def test_a_refused_client_is_told_when_to_come_again(executors: int) -> None:
    bench = Bench(executors)
    assert isinstance(bench.dispatcher.retry_after(), int)
    assert bench.dispatcher.retry_after() >= 1
