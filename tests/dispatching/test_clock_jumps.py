"""The clock on the wall jumps by an hour: nothing that is measured comes early or late (D10)."""

import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure

JUMPS = pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
#: Just before, and just after it is due.
EARLY_S, LATE_S = 0.1, 0.2


def submit(bench: Bench, submission: ev.Submitted) -> None:
    bench.dispatcher.post(submission)
    bench.store.acknowledge()


@JUMPS
@on_loop
async def test_a_running_task_keeps_its_time(jump_s: float) -> None:
    bench = Bench()
    submit(bench, ev.Submitted(make_task("a", timeout_s=10.0)))
    bench.clock.pass_time(5.0)
    bench.clock.put_forward(jump_s)
    bench.clock.pass_time(5.0 - EARLY_S)
    assert bench.pool.told == []
    bench.clock.pass_time(LATE_S)
    assert bench.pool.told == [fx.Stop(1)]


@JUMPS
@on_loop
async def test_a_delay_passes_as_it_would(jump_s: float) -> None:
    bench = Bench()
    submit(bench, ev.Submitted(make_task("a"), delay_s=10.0))
    bench.clock.put_forward(jump_s)
    bench.clock.pass_time(10.0 - EARLY_S)
    assert not bench.pool.assigned
    bench.clock.pass_time(LATE_S)
    assert list(bench.pool.assigned) == ["a"]


@JUMPS
@pytest.mark.parametrize("late", [False, True])
@on_loop
async def test_a_task_expires_when_it_would(jump_s: float, late: bool) -> None:
    bench = Bench()
    submit(bench, ev.Submitted(make_task("runs")))
    submit(bench, ev.Submitted(make_task("a"), expires_in_s=10.0))
    bench.clock.put_forward(jump_s)
    bench.clock.pass_time(10.0 + (LATE_S if late else -EARLY_S))
    bench.pool.end("runs")
    bench.store.acknowledge()
    assert ("a" in bench.pool.assigned) is not late


def fail(bench: Bench, task_id: str) -> float:
    """Let an attempt fail; return the seconds until the next one."""
    bench.pool.end(task_id, None, Failure(cause=Cause.EXCEPTION, message="boom"))
    bench.store.acknowledge()
    pause_s = bench.clock.armed[0] - bench.clock.now()
    assert 8.0 <= pause_s <= 12.0, "10 s, more or less"
    return pause_s


@JUMPS
@on_loop
async def test_a_retry_comes_when_it_would(jump_s: float) -> None:
    bench = Bench()
    submit(bench, ev.Submitted(make_task("a", max_retries=1, retry_delay_s=10.0)))
    pause_s = fail(bench, "a")
    bench.clock.put_forward(jump_s)
    bench.clock.pass_time(pause_s - EARLY_S)
    assert not bench.pool.assigned
    bench.clock.pass_time(LATE_S)
    assert list(bench.pool.assigned) == ["a"]


@JUMPS
@on_loop
async def test_a_retry_that_waits_across_a_restart_is_no_later_than_its_longest_pause(
    jump_s: float,
) -> None:
    before = Bench()
    submit(before, ev.Submitted(make_task("a", max_retries=1, retry_delay_s=10.0)))
    fail(before, "a")
    left = tuple(await before.store.unended(0, 9))
    after = Bench()
    after.clock.put_forward(jump_s)
    after.dispatcher.post(ev.Recovered(left, after.clock.wall(), more=True))
    after.dispatcher.post(ev.Recovered((), after.clock.wall(), more=False))
    after.clock.pass_time(12.0 + LATE_S)
    assert after.scheduler.live["a"].status is Status.RUNNING
