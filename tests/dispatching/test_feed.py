"""What happens to tasks, as those hear of it who listen now or come back later."""

from hypothesis import given
from hypothesis import strategies as st

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop
from vera_supervisor.feed import Feed, Kind, TaskEvent
from vera_supervisor.journal import Journal
from vera_supervisor.scheduling import events as ev
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure, Progress


def event(task_id: str) -> TaskEvent:
    return TaskEvent(Kind.STARTED, task_id, "work", 1.0e9, Status.RUNNING, 1)


@given(st.lists(st.sampled_from("ab"), max_size=30), st.integers(0, 10), st.integers(0, 40))
def test_who_comes_back_misses_nothing_or_is_told(ids: str, history: int, seen: int) -> None:
    feed = Feed(history, backlog=10)
    for task_id in ids:
        feed.add(event(task_id))
    known = max(0, len(ids) - history) <= seen <= len(ids)
    for wanted in (None, "a"):
        missed = feed.since(f"{feed.epoch}-{seen}", wanted)
        if not known:
            assert missed is None
        else:
            assert missed is not None
            expected = [
                (f"{feed.epoch}-{number}", task_id)
                for number, task_id in enumerate(ids, 1)
                if number > seen and wanted in (None, task_id)
            ]
            assert [(m.id, m.event.task_id) for m in missed] == expected


def test_an_id_of_another_run_or_of_no_run_says_nothing() -> None:
    feed = Feed(10, 10)
    feed.add(event("a"))
    huge = f"{feed.epoch}-" + "9" * 5000  # more digits than int() takes
    for last_id in ("", "1", "-1", f"{feed.epoch}-", f"{feed.epoch}-²", "00000000-1", "é-1", huge):
        assert feed.since(last_id) is None
    assert Feed(10, 10).since(feed.last_id) is None


@on_loop
async def test_each_listener_hears_what_it_asked_for() -> None:
    feed = Feed(10, 10)
    everything, only_a = feed.listen(), feed.listen("a")
    for task_id in "aba":
        feed.add(event(task_id))
    assert [heard.event.task_id for heard in everything.take()] == list("aba")
    assert [heard.id[-2:] for heard in only_a.take()] == ["-1", "-3"]
    feed.unlisten(only_a)
    feed.add(event("a"))
    assert only_a.take() == []
    assert feed.listening == 1
    feed.unlisten(everything)
    assert not feed._listeners


@on_loop
async def test_a_listener_that_is_too_slow_is_behind_and_holds_no_more() -> None:
    feed = Feed(10, backlog=3)
    listener = feed.listen()
    for _ in range(100):
        feed.add(event("a"))
    assert listener.behind
    assert len(listener.take()) == 3
    feed.add(event("a"))
    assert listener.take() == []


@on_loop
async def test_the_whole_life_of_a_task() -> None:
    bench = Bench()
    bench.journal.feed = Feed(100, 100)
    listener = bench.journal.feed.listen("a")
    bench.dispatcher.post(ev.Submitted(make_task("a", max_retries=1, retry_delay_s=5.0)))
    assert listener.take() == [], "it is no one's business before it is stored"
    bench.store.acknowledge()
    slot = bench.pool.assigned["a"].slot_id
    bench.dispatcher.post(ev.AttemptReported(slot, "a", 1, Progress(0.5, "half")))
    bench.dispatcher.post(ev.AttemptReported(slot, "a", 7, Progress(0.9, "a former attempt")))
    failure = Failure(cause=Cause.EXCEPTION, message="boom", type="ValueError", traceback="long")
    bench.pool.end("a", None, failure)
    bench.store.acknowledge()
    bench.clock.pass_time(60.0)
    bench.pool.end("a")
    before_it_is_stored = [heard.event.kind for heard in listener.take()]
    bench.store.acknowledge()
    [end] = listener.take()
    assert before_it_is_stored == ["queued", "started", "progress", "requeued", "started"]
    assert (end.event.kind, end.event.status, end.event.attempt) == ("ended", "completed", 2)
    missed = bench.journal.feed.since(f"{bench.journal.feed.epoch}-0", "a")
    assert missed is not None
    requeued = missed[3].event
    assert requeued.failure == Failure(cause=Cause.EXCEPTION, message="boom", type="ValueError")
    assert missed[2].event.progress == Progress(0.5, "half")


@on_loop
async def test_when_the_worker_stops_all_who_listen_are_let_go() -> None:
    journal = Journal(Feed(10, 10))
    listeners = [journal.feed.listen(), journal.feed.listen("a")]
    journal.close()
    for listener in listeners:
        assert listener.closed
        assert listener.news.is_set()
