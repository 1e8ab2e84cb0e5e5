"""When the store fails, or fails although it did what it was told."""

import pytest

from tests.fakes.makers import ONCE
from tests.scheduling.desk import desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.attempts import SAVE_AGAIN_S
from vera_supervisor.scheduling.effects import Refusal
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause


def test_a_task_that_is_not_stored_is_refused_and_forgotten() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a", digest=b"one")
    refusal = one(fx.Refuse, desk.save_failed())
    assert (refusal.refusal, refusal.detail) == (Refusal.STORE, "the disk is full")
    assert refusal.digest == b"one"
    assert desk.scheduler.live == {}
    assert desk.scheduler.queued == 0
    assert only(fx.Assign, desk.effects) == []


def test_an_end_is_written_until_the_store_takes_it_and_told_only_then() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.hold(fx.FinishTask)
    finish = one(fx.FinishTask, desk.end("a"))
    for _ in range(5):
        assert desk.save_failed() == []
        assert desk.pass_time(SAVE_AGAIN_S - 0.01) == []
        ((_, again),) = desk.pass_time(0.02)
        assert again == finish
    assert one(fx.Announce, desk.saved()).status is Status.COMPLETED


def test_the_executor_does_not_wait_for_that() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.hold(fx.FinishTask)
    desk.end("a")
    desk.save_failed()
    assert one(fx.Assign, desk.submit("b")).task.task_id == "b"


def test_a_requeue_is_written_again_while_the_task_still_waits() -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=1, retry_delay_s=100.0)
    desk.hold(fx.RequeueTask)
    requeue = one(fx.RequeueTask, desk.throw("a"))
    desk.save_failed()
    assert desk.pass_time(2.0) == [(SAVE_AGAIN_S, requeue)]


@pytest.mark.parametrize("then", ["it runs", "it has ended"])
def test_a_requeue_is_not_written_over_what_came_after_it(then: str) -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=1, retry_delay_s=0.0)
    desk.hold(fx.RequeueTask)
    desk.throw("a")
    desk.save_failed()
    assert desk.scheduler.live["a"].attempt == 2
    if then == "it has ended":
        desk.end("a")
    assert desk.pass_time(5.0) == []


def test_what_a_requeue_that_was_not_stored_said_is_said_by_the_next_start() -> None:
    """Else a worker that is lost then would grant one attempt more than there are."""
    desk = desk_with(1, crash_retries=1)
    desk.submit("a")
    desk.hold(fx.RequeueTask)
    desk.lose("a")
    desk.save_failed()
    desk.get_ready()
    desk.effects.clear()
    desk.pass_time(1.0)
    start = one(fx.StartAttempt, desk.effects)
    assert (start.attempt, start.spent.crashes) == (2, 1)


def test_a_requeue_is_not_written_over_a_cancellation() -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=1, retry_delay_s=100.0)
    desk.hold(fx.RequeueTask, fx.FinishTask)
    desk.throw("a")
    desk.save_failed()
    desk.cancel("a")
    assert desk.pass_time(5.0) == []
    assert one(fx.Announce, desk.saved()).status is Status.CANCELLED


def test_a_start_that_is_not_stored_stops_no_task_that_may_run_again() -> None:
    desk = desk_with(1)
    desk.submit("a")
    start = one(fx.StartAttempt, desk.effects)
    assert not start.acknowledge
    assert desk.tell(ev.SaveFailed(start, "the disk is full")) == []
    assert one(fx.Announce, desk.end("a")).status is Status.COMPLETED


def test_what_must_never_be_started_twice_is_sent_when_its_start_is_stored() -> None:
    desk = desk_with(1)
    desk.hold(fx.StartAttempt)
    effects = desk.submit("a", function=ONCE)
    assert one(fx.StartAttempt, effects).acknowledge
    assert only(fx.Assign, effects) == []
    assert desk.scheduler.running == 1
    assert one(fx.Assign, desk.saved()).attempt == 1
    assert one(fx.Announce, desk.end("a")).status is Status.COMPLETED


def test_it_is_not_sent_when_its_start_is_not_stored_but_tried_again_a_little_later() -> None:
    desk = desk_with(1)
    desk.hold(fx.StartAttempt)
    desk.submit("a", function=ONCE)
    effects = desk.save_failed()
    requeue = one(fx.RequeueTask, effects)
    assert (requeue.attempt, requeue.failure.cause) == (0, Cause.INTERRUPTED)
    assert only(fx.StartAttempt, effects) == [], "a store that fails is not asked in a loop"
    assert desk.states() == ["IDLE"]
    desk.pass_time(SAVE_AGAIN_S)
    assert one(fx.Assign, desk.saved()).attempt == 1


def test_it_is_not_sent_to_an_executor_that_died_meanwhile() -> None:
    desk = desk_with(1)
    desk.hold(fx.StartAttempt)
    desk.submit("a", function=ONCE)
    assert one(fx.Announce, desk.lose("a")).status is Status.FAILED
    assert desk.saved() == []


def test_it_is_not_sent_to_an_executor_that_is_being_killed() -> None:
    for outcome in ("saved", "save_failed"):
        desk = desk_with(1)
        desk.hold(fx.StartAttempt)
        desk.submit("a", function=ONCE)
        desk.tell(ev.InterruptAsked())
        desk.tell(ev.InterruptAsked())
        assert getattr(desk, outcome)() == []
        assert desk.states() == ["KILLING"]
        assert one(fx.Announce, desk.lose("a")).status is Status.FAILED


def test_when_its_time_is_over_before_its_start_is_stored_its_executor_is_spared() -> None:
    for outcome in ("saved", "save_failed"):
        desk = desk_with(1)
        desk.hold(fx.StartAttempt)
        desk.submit("a", function=ONCE, timeout_s=5.0)
        desk.pass_time(5.0)
        finish = one(fx.FinishTask, getattr(desk, outcome)())
        assert finish.failure is not None
        assert finish.failure.cause is Cause.TIMEOUT
        assert desk.states() == ["IDLE"]
