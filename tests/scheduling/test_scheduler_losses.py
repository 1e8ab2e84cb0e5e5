"""Executors that die, tasks that raise, and who is tried again."""

from typing import Any

import pytest

from tests.fakes.makers import ONCE, pool_policy
from tests.scheduling.desk import Desk, desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure


def attempts_until_the_end(desk: Desk, how: Any, **task: Any) -> fx.FinishTask:
    desk.submit("a", timeout_s=1e9, **task)
    for _ in range(50):
        if desk.scheduler.running:
            how("a")
        desk.get_ready()
        desk.pass_time(1000.0)
        if not desk.scheduler.live:
            return one(fx.FinishTask, desk.effects)
    raise AssertionError("it is tried for ever")


def test_a_task_that_kills_its_executor_is_tried_again_within_the_crash_budget() -> None:
    desk = desk_with(1, crash_retries=2)
    finish = attempts_until_the_end(desk, desk.lose)
    assert finish.failure is not None
    assert (finish.attempt, finish.status) == (3, Status.FAILED)
    assert (finish.failure.cause, finish.failure.signal) == (Cause.CRASHED, "SIGKILL")
    assert [effect.attempt for effect in only(fx.Assign, desk.effects)] == [1, 2, 3]


def test_a_task_that_raises_is_tried_again_as_often_as_it_asked_for() -> None:
    desk = desk_with(1)
    finish = attempts_until_the_end(desk, desk.throw, max_retries=4)
    assert finish.failure is not None
    assert (finish.attempt, finish.failure.cause) == (5, Cause.EXCEPTION)
    assert len(only(fx.RequeueTask, desk.effects)) == 4


@pytest.mark.parametrize("end", ["throw", "lose"])
def test_what_must_never_be_started_twice_is_not_whatever_it_asked_for(end: str) -> None:
    desk = desk_with(1)
    finish = attempts_until_the_end(desk, getattr(desk, end), function=ONCE, max_retries=5)
    assert finish.attempt == 1
    assert len(only(fx.Assign, desk.effects)) == 1


def test_what_must_never_be_started_twice_is_not_after_a_timeout_either() -> None:
    desk = desk_with(1)
    desk.submit("a", function=ONCE, max_retries=5, timeout_s=10.0)
    desk.pass_time(10.0)
    assert one(fx.Announce, desk.end("a")).status is Status.FAILED


def test_the_other_tasks_do_not_notice() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.submit("b")
    desk.lose("a")
    assert one(fx.FinishTask, desk.end("b")).status is Status.COMPLETED


def test_a_retry_waits_with_its_delay_and_goes_behind_those_who_came_meanwhile() -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=1, retry_delay_s=10.0)
    requeue = one(fx.RequeueTask, desk.throw("a"))
    assert 8.0 <= requeue.delay_s <= 12.0
    desk.submit("runs")
    desk.now += 1.0
    desk.submit("b")
    desk.pass_time(12.0)
    assert one(fx.Assign, desk.end("runs")).task.task_id == "b"
    assert one(fx.Assign, desk.end("b")).task.task_id == "a"


def test_a_lost_executor_is_replaced_at_once() -> None:
    desk = desk_with(1)
    desk.submit("a")
    assert one(fx.Launch, desk.lose("a")).slot_id == 2


def test_an_executor_that_is_unfit_leaves_and_its_task_is_not_the_worse_for_it() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.submit("b")
    effects = desk.end("a", unfit="it grew too large")
    assert one(fx.Retire, effects).slot_id == 1
    assert one(fx.FinishTask, effects).status is Status.COMPLETED
    assert only(fx.Assign, effects) == [], "its place is taken until it is gone"
    assert one(fx.Launch, desk.tell(ev.ExecutorLost(1, "it left"))).slot_id == 2
    assert one(fx.Assign, desk.get_ready()).task.task_id == "b"


def test_after_a_lower_maximum_those_too_many_leave_with_the_end_of_their_task() -> None:
    desk = desk_with(3)
    for name in "abcdef":
        desk.submit(name)
    desk.scheduler.pools.default.roster.size = pool_policy(max_workers=1).size
    assert [type(effect) for effect in desk.end("a")] == [fx.Retire, fx.FinishTask, fx.Announce]
    assert len(only(fx.Retire, desk.end("b"))) == 1
    assert len(only(fx.Assign, desk.end("c"))) == 1
    assert sorted(desk.states()) == ["BUSY", "RETIRING", "RETIRING"]


@pytest.mark.parametrize("check_interval_s", [15.0, 60.0, 90.0])
def test_an_idle_executor_leaves_in_time_however_often_it_is_checked(
    check_interval_s: float,
) -> None:
    desk = Desk(max_workers=1, idle_timeout_s=60.0, check_interval_s=check_interval_s)
    desk.submit("a")
    desk.get_ready()
    desk.end("a")
    start = desk.now
    while desk.now - start < 60.0:
        desk.pass_time(15.0)
        desk.tell(ev.ExecutorAnswered(1))
    assert desk.states() == ["RETIRING"]


def test_memory_and_unsendable_results_are_final() -> None:
    desk = desk_with(1)
    for cause in (Cause.MEMORY, Cause.UNSERIALISABLE_RESULT):
        desk.submit(cause, max_retries=9)
        finish = one(fx.FinishTask, desk.end(cause, Failure(cause=cause, message="")))
        assert finish.failure is not None
        assert finish.failure.cause is cause


def test_the_certificate_holds_the_tail_of_what_was_printed() -> None:
    desk = desk_with(1)
    desk.submit("a")
    finish = one(
        fx.FinishTask,
        desk.end("a", Failure(cause=Cause.EXCEPTION, message=""), output=b"x" * 9000 + b"\xff end"),
    )
    assert finish.failure is not None
    assert finish.failure.output_tail is not None
    assert len(finish.failure.output_tail) == 4096
    assert finish.failure.output_tail.endswith("\ufffd end")
    assert len(finish.output) == 9005


def test_an_executor_lost_twice_or_unknown_or_without_a_task_ends_nothing() -> None:
    desk = desk_with(2)
    desk.submit("a")
    idle = next(s for s in desk.scheduler.slots if s.task_id is None).slot_id
    for slot_id in (idle, idle, 77):
        effects = desk.tell(ev.ExecutorLost(slot_id, "gone"))
        assert not only(fx.FinishTask, effects)
        assert not only(fx.RequeueTask, effects)


def test_two_signs_of_readiness_are_one() -> None:
    desk = desk_with(1)
    assert desk.tell(ev.ExecutorReady(1)) == []
    desk.submit("a")
    desk.submit("b")
    assert desk.tell(ev.ExecutorReady(1)) == []
    assert desk.tell(ev.ExecutorAnswered(1)) == []
    assert desk.states() == ["BUSY"]


def test_executors_that_cannot_start_do_not_make_it_spin() -> None:
    desk = Desk(min_workers=1, max_workers=2)
    desk.tell(ev.TimePassed())
    launches = 0
    for _ in range(200):
        for slot in list(desk.scheduler.slots):
            desk.tell(ev.ExecutorLost(slot.slot_id, "no such module"))
        launches += len(only(fx.Launch, [effect for _, effect in desk.pass_time(5.0)]))
    assert 30 <= launches <= 60, "about one in 30 s, once it is clear"
