"""What the store holds of an earlier run is taken up before anything starts."""

import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop
from vera_supervisor import restart
from vera_supervisor.restart import take_up
from vera_supervisor.scheduling import effects as fx
from vera_worker.lifecycle import Status
from vera_worker.tasks import Task


def keep(bench: Bench, *tasks: Task) -> None:
    """Let the store hold tasks that the scheduler knows nothing of."""
    for task in tasks:
        bench.store.add(fx.AddTask(task, 0.0, None), lambda _: None)
    bench.store.acknowledge()


@on_loop
async def test_all_tasks_are_taken_up_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "CHUNK", 2)
    bench = Bench(executors=1)
    names = [f"{number}" for number in range(5)]
    keep(bench, *(make_task(name, queued_at=bench.clock.wall()) for name in names))
    assert await take_up(bench.store, bench.dispatcher, bench.clock) == 5
    for name in names:
        bench.store.acknowledge()  # the end of the one before, and that this one starts
        assert list(bench.pool.assigned) == [name]
        bench.pool.end(name)
    bench.store.acknowledge()
    assert bench.scheduler.live == {}


@on_loop
async def test_a_new_worker_takes_up_nothing() -> None:
    bench = Bench(executors=1)
    assert await take_up(bench.store, bench.dispatcher, bench.clock) == 0
    assert not bench.scheduler.live


@on_loop
async def test_what_a_task_depends_on_is_looked_up_in_the_store() -> None:
    bench = Bench(executors=2)
    good, bad = make_task("good"), make_task("bad")
    after = [make_task(f"after {n}", depends_on=(n,)) for n in ("good", "bad", "forgotten")]
    keep(bench, good, bad, *after)
    for name, status in (("good", Status.COMPLETED), ("bad", Status.FAILED)):
        end = fx.FinishTask(name, 1, status, None, None, b"")
        bench.store.finish(end, 1.0, lambda _: None)
    bench.store.acknowledge()
    await take_up(bench.store, bench.dispatcher, bench.clock)
    bench.store.acknowledge()
    assert set(bench.pool.assigned) == {"after good", "after forgotten"}
    record = await bench.store.get("after bad")
    assert record is not None
    assert record.status is Status.FAILED


@on_loop
async def test_parked_tasks_are_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(executors=1, functions=frozenset({"work"}))
    keep(bench, make_task("a", function="gone"), make_task("b", function="gone"))
    await take_up(bench.store, bench.dispatcher, bench.clock)
    assert "2 tasks wait: no task module offers 'gone' any more" in caplog.text
    assert not bench.pool.assigned


@on_loop
async def test_a_task_may_depend_on_one_that_has_ended_but_not_on_one_that_never_was() -> None:
    bench = Bench(executors=1)
    keep(bench, make_task("old"))
    end = fx.FinishTask("old", 1, Status.COMPLETED, b"1", None, b"")
    bench.store.finish(end, 1.0, lambda _: None)
    bench.store.acknowledge()
    refused = await bench.dispatcher.submit(make_task("a", depends_on=("old", "never")))
    assert isinstance(refused, fx.Refuse)
    assert refused.refusal is fx.Refusal.DEPENDENCY
    assert await bench.dispatcher.records.ends(["old", "never"]) == {"old": Status.COMPLETED}


@on_loop
async def test_sent_again_a_task_may_depend_on_a_forgotten_one_but_not_on_one_refused() -> None:
    """A commit that was said to have failed may have stored a task and what it depends on."""
    bench = Bench(executors=1)
    task = make_task("a", depends_on=("stored", "bad", "forgotten"))
    keep(bench, make_task("stored"), make_task("bad"), task)
    end = fx.FinishTask("bad", 1, Status.FAILED, None, None, b"")
    bench.store.finish(end, 1.0, lambda _: None)
    bench.store.acknowledge()
    ended = await bench.dispatcher.records.ends_before(task)
    assert ended == {"bad": Status.FAILED, "forgotten": Status.COMPLETED}
    refused = await bench.dispatcher.submit(task)
    assert isinstance(refused, fx.Refuse)
    assert refused.refusal is fx.Refusal.DEPENDENCY
    assert "'stored'" in refused.detail
