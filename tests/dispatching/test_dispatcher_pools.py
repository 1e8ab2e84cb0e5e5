"""How soon a task would start depends on how fast its own pool gets on."""

import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import GPUS, INFER, gpu_pool, make_task
from tests.fakes.on_loop import on_loop
from vera_supervisor.scheduling.events import Submitted


@on_loop
async def test_each_pool_has_a_rate_of_its_own() -> None:
    bench = Bench(**gpu_pool(min_workers=1, max_workers=1))
    for number in range(10):
        for function in ("work", INFER) if number == 0 else ("work",):
            task_id = f"{function}{number}"
            task = make_task(task_id, function=function, digest=task_id.encode())
            bench.dispatcher.offer(Submitted(task), lambda _: None)
            bench.store.acknowledge()
            bench.pool.end(task_id)
            bench.store.acknowledge()
        bench.clock.pass_time(0.1)
    now, rate_of = bench.clock.now(), bench.dispatcher.drain_rate_of
    work, infer = (rate_of(make_task(function=name)).per_second(now) for name in ("work", INFER))
    assert (work, infer) == (pytest.approx(10.0), pytest.approx(1.0))
    assert bench.dispatcher.drain_rate.per_second(now) == pytest.approx(11.0)
    (alone,) = (Bench().dispatcher,)
    assert alone.drain_rate_of(make_task()) is alone.drain_rate


@on_loop
async def test_whoever_is_refused_by_a_pool_is_told_when_that_has_room() -> None:
    bench = Bench(**gpu_pool(max_workers=1, queue_size=1))
    for second in range(20):
        for task_id in (f"{second}a", f"{second}b"):
            bench.dispatcher.offer(Submitted(make_task(task_id)), lambda _: None)
            bench.store.acknowledge()
            bench.pool.end(task_id)
            bench.store.acknowledge()
        if second % 4 == 0:
            bench.dispatcher.drain_rate_of(make_task(function=INFER)).note()
        bench.clock.pass_time(1.0)
        bench.dispatcher.look_at_drain(bench.clock.now())
    assert bench.dispatcher.retry_after() < 3, "two leave the queue of all in a second"
    first, second = (bench.dispatcher.retry_after(GPUS) for _ in range(2))
    assert 3 < first < second, "each has its own place in the line of that pool"
    bench.dispatcher.look_at_drain(bench.clock.now())
    assert bench.dispatcher.retry_after(GPUS) == first, "it has room: the line is forgotten"
