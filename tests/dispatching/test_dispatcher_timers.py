"""The scheduler is woken when it wishes, and only then."""

import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_worker.tasks import Cause


def submit(bench: Bench, task_id: str, *, delay_s: float = 0.0, timeout_s: float = 60.0) -> None:
    bench.dispatcher.post(ev.Submitted(make_task(task_id, timeout_s=timeout_s), delay_s))
    bench.store.acknowledge()


@on_loop
async def test_there_is_one_timer_and_it_is_for_the_next_deadline() -> None:
    bench = Bench(3)
    for name, timeout_s in (("a", 50.0), ("b", 20.0), ("c", 90.0)):
        submit(bench, name, timeout_s=timeout_s)
    assert bench.clock.armed == [1020.0]


@on_loop
async def test_a_nearer_deadline_sets_the_timer_anew() -> None:
    bench = Bench()
    submit(bench, "a", timeout_s=50.0)
    submit(bench, "b", delay_s=10.0)
    assert bench.clock.armed == [1010.0]


@on_loop
async def test_each_time_it_is_set_again_until_the_ladder_ends() -> None:
    bench = Bench(kill_grace_s=3.0)
    submit(bench, "a", timeout_s=10.0)
    bench.clock.pass_time(13.0)
    assert bench.pool.told == [fx.Stop(1), fx.DumpStack(1), fx.Kill(1)]
    assert bench.clock.now() == 1013.0
    assert len(bench.clock.armed) == 1, "the killed process may not vanish"


@on_loop
async def test_a_deadline_that_went_away_costs_one_wakeup_at_most() -> None:
    bench = Bench(check_interval_s=1e4)
    submit(bench, "a", timeout_s=10.0)
    bench.pool.end("a")
    bench.store.acknowledge()
    bench.clock.pass_time(20.0)
    assert bench.pool.told == []
    assert bench.clock.armed == [pytest.approx(11_000.0)]


@on_loop
async def test_what_the_store_did_not_take_is_written_again() -> None:
    bench = Bench()
    submit(bench, "a")
    bench.pool.end("a")
    for _ in range(3):
        bench.store.fail()
        assert bench.store.pending == 0
        bench.clock.pass_time(1.0)
        assert bench.store.pending == 1
    bench.store.acknowledge()
    assert bench.metrics.completed == 1


@on_loop
async def test_an_executor_that_cannot_start_does_not_make_the_loop_spin() -> None:
    bench = Bench(0, max_workers=1)
    submit(bench, "a")
    for _ in range(10):
        for slot_id in bench.pool.launched:
            bench.dispatcher.post(ev.ExecutorLost(slot_id, "no such module"))
        bench.pool.launched.clear()
        bench.clock.pass_time(30.0)  # the clock itself fails when it is called without end
    bench.pool.get_ready()
    assert list(bench.pool.assigned) == ["a"]


@on_loop
async def test_executors_are_counted_by_what_they_are_lost_to() -> None:
    bench = Bench(2, crash_retries=0)
    submit(bench, "late", timeout_s=10.0)
    submit(bench, "crashed")
    bench.pool.lose("crashed")
    bench.clock.pass_time(13.0)
    bench.pool.lose("late")
    assert bench.scheduler.losses == {Cause.CRASHED: 1, Cause.TIMEOUT: 1}


@on_loop
async def test_an_executor_that_was_told_to_leave_is_no_loss() -> None:
    bench = Bench(max_tasks=1)
    submit(bench, "a")
    bench.pool.end("a")
    (retire,) = bench.pool.told
    assert isinstance(retire, fx.Retire)
    bench.dispatcher.post(ev.ExecutorLost(retire.slot_id, "it left"))
    assert bench.scheduler.losses == {}
