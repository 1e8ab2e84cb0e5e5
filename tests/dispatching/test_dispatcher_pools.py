"""How soon a task would start depends on how fast its own pool gets on."""

import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import INFER, gpu_pool, make_task
from tests.fakes.on_loop import on_loop
from vera_supervisor.events import Submitted


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
