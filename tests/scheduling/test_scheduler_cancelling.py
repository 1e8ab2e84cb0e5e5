"""A cancelled task does not run, or does not run on."""

import pytest

from tests.fakes.makers import ONCE
from tests.scheduling.desk import Desk, desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling.effects import Refusal
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause


@pytest.mark.parametrize("delay_s", [0.0, 100.0])
def test_a_waiting_task_is_cancelled_at_once(delay_s: float) -> None:
    desk = Desk(max_workers=1)
    desk.submit("a", delay_s=delay_s)
    effects = desk.cancel("a")
    finish = one(fx.FinishTask, effects)
    assert (finish.status, finish.attempt) == (Status.CANCELLED, 0)
    end = one(fx.Announce, effects)
    assert (end.status, end.ran_s) == (Status.CANCELLED, None)
    assert desk.scheduler.queued == 0
    desk.get_ready()
    desk.pass_time(200.0)
    assert only(fx.Assign, desk.effects) == []


def test_the_others_move_up() -> None:
    desk = Desk(max_workers=1)
    for name in "abc":
        desk.submit(name)
    desk.cancel("a")
    assert desk.scheduler.position(desk.scheduler.live["c"]) == 2


@pytest.mark.parametrize("polite", [True, False])
def test_a_running_task_is_asked_to_stop_and_killed_if_it_does_not(polite: bool) -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=3)
    assert desk.cancel("a") == [fx.Stop(1)]
    assert desk.scheduler.running == 1
    if polite:
        effects = desk.throw("a")
        assert desk.states() == ["IDLE"]
    else:
        desk.pass_time(3.0)
        effects = desk.lose("a")
    finish = one(fx.FinishTask, effects)
    assert finish.status is Status.CANCELLED
    assert finish.failure is not None
    assert finish.failure.cause is Cause.CANCELLED


def test_a_result_that_crosses_the_cancellation_is_not_kept() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.cancel("a")
    finish = one(fx.FinishTask, desk.end("a"))
    assert (finish.status, finish.result) == (Status.CANCELLED, None)


def test_to_cancel_twice_is_to_cancel_once() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.cancel("a")
    assert desk.cancel("a") == []
    desk.end("a")
    assert len(only(fx.Announce, desk.effects)) == 1


def test_a_task_that_is_unknown_or_ended_or_not_stored_yet_is_not_cancelled() -> None:
    desk = desk_with(1)
    assert one(fx.Refuse, desk.cancel("nobody")).refusal is Refusal.TOO_LATE
    desk.submit("a")
    desk.hold(fx.FinishTask, fx.AddTask)
    desk.end("a")
    assert one(fx.Refuse, desk.cancel("a")).refusal is Refusal.TOO_LATE
    desk.submit("b")
    assert one(fx.Refuse, desk.cancel("b")).refusal is Refusal.TOO_LATE
    desk.saved()
    assert one(fx.Refuse, desk.cancel("a")).refusal is Refusal.TOO_LATE


def test_a_task_that_waits_for_its_retry_is_cancelled_and_ran_as_long_as_it_ran() -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=1, retry_delay_s=600.0)
    desk.now += 2.0
    desk.throw("a")
    desk.now += 100.0
    end = one(fx.Announce, desk.cancel("a"))
    assert (end.status, end.ran_s) == (Status.CANCELLED, 2.0)


def test_a_task_that_is_cancelled_while_it_is_stopped_for_its_timeout_is_not_tried_again() -> None:
    desk = desk_with(1)
    desk.submit("a", timeout_s=5.0, max_retries=3)
    desk.pass_time(5.0)
    desk.cancel("a")
    finish = one(fx.FinishTask, desk.end("a"))
    assert finish.status is Status.CANCELLED
    assert finish.failure is not None
    assert finish.failure.cause is Cause.TIMEOUT, "the first reason counts"


def test_a_once_only_task_that_is_cancelled_before_its_start_is_stored_is_not_sent() -> None:
    desk = desk_with(1)
    desk.hold(fx.StartAttempt)
    desk.submit("a", function=ONCE)
    desk.cancel("a")
    effects = desk.saved()
    assert only(fx.Assign, effects) == []
    assert one(fx.Announce, effects).status is Status.CANCELLED
    assert desk.states() == ["IDLE"], "its executor had nothing to do with it"


def test_cancelled_delayed_tasks_leave_nothing_behind() -> None:
    desk = Desk(max_workers=1)
    for number in range(1000):
        desk.submit(f"{number}", delay_s=1e6 - number)
        desk.cancel(f"{number}")
    assert len(desk.scheduler.waiting.delayed) < 100
    desk.submit("kept", delay_s=5.0)
    assert desk.scheduler.queued == 1
    assert desk.scheduler.alarm.at == desk.now + 5.0
