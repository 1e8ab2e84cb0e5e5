"""Clients that wait for an end, cancel, or look."""

import asyncio

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.fake_clock import EPOCH
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop, turn
from vera_supervisor.scheduling import events as ev
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure, Record

FOR_EVER = 1e6


def submit(bench: Bench, task_id: str, delay_s: float = 0.0, **task: object) -> None:
    """Submit a task as a client does that does not wait for the answer."""
    bench.dispatcher.post(ev.Submitted(make_task(task_id, **task), delay_s))
    bench.store.acknowledge()


def waiter(bench: Bench, task_id: str) -> "asyncio.Task[Record | None]":
    return asyncio.create_task(bench.dispatcher.wait_ended(task_id, FOR_EVER))


@on_loop
async def test_who_waits_gets_the_record_once_the_end_is_stored() -> None:
    bench = Bench()
    submit(bench, "a")
    waiting = [waiter(bench, "a") for _ in range(3)]
    await turn()
    bench.pool.end("a", b"42")
    await turn()
    assert not any(one.done() for one in waiting)
    bench.store.acknowledge()
    for one in waiting:
        record = await one
        assert record is not None
        assert (record.status, record.result) == (Status.COMPLETED, b"42")
    assert bench.journal.waiting == 0


@on_loop
async def test_who_waits_for_what_has_ended_or_is_unknown_does_not_wait() -> None:
    bench = Bench()
    submit(bench, "a")
    bench.pool.end("a")
    bench.store.acknowledge()
    record = await bench.dispatcher.wait_ended("a", FOR_EVER)
    assert record is not None
    assert record.ended
    assert await bench.dispatcher.wait_ended("nobody", FOR_EVER) is None
    await turn()
    assert bench.journal.waiting == 0


@on_loop
async def test_who_waits_no_longer_gets_the_record_as_it_is() -> None:
    bench = Bench()
    submit(bench, "a")
    record = await bench.dispatcher.wait_ended("a", 0.0)
    assert record is not None
    assert record.status is Status.RUNNING
    await turn()
    assert bench.journal.waiting == 0


@on_loop
async def test_who_goes_away_while_waiting_is_forgotten() -> None:
    bench = Bench()
    submit(bench, "a")
    waiting = [waiter(bench, "a") for _ in range(20)]
    await turn()
    assert bench.journal.waiting == 20
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    await turn()
    assert bench.journal.waiting == 0


@on_loop
async def test_to_cancel_is_to_wait_for_the_end() -> None:
    bench = Bench()
    submit(bench, "a")
    cancelling = asyncio.create_task(bench.dispatcher.cancel("a"))
    await turn()
    assert len(bench.pool.told) == 1
    bench.pool.end("a")
    await turn()
    assert not cancelling.done()
    bench.store.acknowledge()
    record = await cancelling
    assert record is not None
    assert record.status is Status.CANCELLED
    assert bench.metrics.cancelled == 1


@on_loop
async def test_to_cancel_what_ends_just_now_is_to_hear_how_it_ended() -> None:
    bench = Bench()
    submit(bench, "a")
    bench.pool.end("a")
    cancelling = asyncio.create_task(bench.dispatcher.cancel("a"))
    await turn()
    bench.store.acknowledge()
    record = await cancelling
    assert record is not None
    assert record.status is Status.COMPLETED
    assert not bench.metrics.refusals, "no submission was refused"


@on_loop
async def test_to_cancel_what_is_unknown_or_not_stored_yet_disturbs_no_one() -> None:
    bench = Bench()
    assert await bench.dispatcher.cancel("nobody") is None
    asked = asyncio.create_task(bench.dispatcher.submit(make_task("a")))
    await turn()
    assert await bench.dispatcher.cancel("a") is None
    assert not asked.done()
    bench.store.acknowledge()
    await asked
    assert bench.scheduler.running == 1


@on_loop
async def test_who_goes_away_while_cancelling_has_cancelled() -> None:
    bench = Bench()
    submit(bench, "a")
    cancelling = asyncio.create_task(bench.dispatcher.cancel("a"))
    await turn()
    cancelling.cancel()
    await asyncio.wait([cancelling])
    bench.pool.end("a")
    bench.store.acknowledge()
    record = await bench.dispatcher.records.get("a")
    assert record is not None
    assert record.status is Status.CANCELLED
    await turn()
    assert bench.journal.waiting == 0


@on_loop
async def test_the_record_of_a_live_task_is_what_the_store_will_say() -> None:
    bench = Bench()
    submit(bench, "runs", max_retries=1, retry_delay_s=500.0)
    submit(bench, "waits")
    bench.clock.pass_time(5.0)
    runs, waits = (
        await bench.dispatcher.records.get("runs"),
        await bench.dispatcher.records.get("waits"),
    )
    assert runs is not None
    assert waits is not None
    assert (runs.status, runs.attempt) == (Status.RUNNING, 1)
    assert runs.started_at == EPOCH + 1000.0
    assert (waits.status, waits.attempt, waits.started_at) == (Status.QUEUED, 0, None)
    bench.pool.end("runs", None, Failure(cause=Cause.EXCEPTION, message="boom"))
    again = await bench.dispatcher.records.get("runs")
    assert again is not None
    assert again.failure is not None
    assert (again.status, again.failure.message) == (Status.QUEUED, "boom")


@on_loop
async def test_an_end_that_is_not_stored_yet_does_not_show() -> None:
    bench = Bench()
    submit(bench, "a")
    bench.pool.end("a")
    record = await bench.dispatcher.records.get("a")
    assert record is not None
    assert (record.status, record.result) == (Status.RUNNING, None)


@on_loop
async def test_the_output_is_read_from_where_the_task_is() -> None:
    bench = Bench()
    submit(bench, "a")
    submit(bench, "b")
    assert await bench.dispatcher.output("a") == b"printed in slot 1"
    assert await bench.dispatcher.output("b") == b""
    assert await bench.dispatcher.output("nobody") is None


@on_loop
async def test_when_the_journal_is_closed_everybody_wakes() -> None:
    bench = Bench()
    submit(bench, "a")
    waiting = waiter(bench, "a")
    await turn()
    bench.journal.close()
    record = await waiting
    assert record is not None
    assert not record.ended
