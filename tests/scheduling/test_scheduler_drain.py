"""The end of work in good order: nothing new, what runs may finish, the rest is put back."""

import pytest

from tests.fakes.makers import ONCE
from tests.scheduling.desk import desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.effects import Refusal
from vera_supervisor.scheduling.slot import SHORT_DUMP_LEAD_S
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Spent


def test_a_draining_worker_takes_and_starts_nothing_but_lets_finish_what_runs() -> None:
    desk = desk_with(1)
    desk.submit("runs")
    desk.submit("waits")
    desk.tell(ev.DrainAsked())
    assert one(fx.Refuse, desk.submit("new")).refusal is Refusal.DRAINING
    assert one(fx.Accept, desk.submit("waits")).known, "it was accepted before"
    effects = desk.end("runs")
    assert one(fx.Announce, effects).status is Status.COMPLETED
    assert only(fx.Assign, effects) == []
    assert desk.scheduler.queued == 1


def test_what_was_being_stored_when_the_drain_began_is_accepted_and_waits() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a")
    desk.tell(ev.DrainAsked())
    effects = desk.saved()
    assert [type(effect) for effect in effects] == [fx.Accept]


def test_when_work_is_resumed_it_goes_on() -> None:
    desk = desk_with(1)
    desk.tell(ev.DrainAsked())
    desk.tell(ev.ResumeAsked())
    assert one(fx.Assign, desk.submit("a")).task.task_id == "a"


def test_what_waited_out_a_drain_starts_when_it_is_over() -> None:
    desk = desk_with(1)
    desk.submit("runs")
    desk.submit("waits")
    desk.tell(ev.DrainAsked())
    desk.end("runs")
    assert one(fx.Assign, desk.tell(ev.ResumeAsked())).task.task_id == "waits"


def test_an_interrupted_task_is_put_back_without_a_charge_and_in_its_place() -> None:
    desk = desk_with(1)
    desk.submit("first")
    desk.now += 1.0
    desk.submit("second")
    desk.now += 1.0
    desk.tell(ev.DrainAsked())
    assert desk.tell(ev.InterruptAsked()) == [fx.DumpStack(1)]
    assert desk.pass_time(SHORT_DUMP_LEAD_S)[-1][1] == fx.Kill(1)
    requeue = one(fx.RequeueTask, desk.lose("first"))
    assert (requeue.attempt, requeue.delay_s) == (0, 0.0)
    assert requeue.failure.cause is Cause.INTERRUPTED
    live = desk.scheduler.live["first"]
    assert desk.scheduler.position(live) == 1
    assert live.spent == requeue.spent == Spent()
    desk.tell(ev.ResumeAsked())
    assign = one(fx.Assign, desk.get_ready())
    assert (assign.task.task_id, assign.attempt) == ("first", 1)


def test_who_asks_twice_to_interrupt_does_not_wait_for_stacks() -> None:
    desk = desk_with(3)
    desk.submit("a", timeout_s=5.0)
    desk.submit("b")
    desk.pass_time(5.0)
    assert desk.tell(ev.InterruptAsked()) == [fx.Kill(1), fx.DumpStack(2), fx.DumpStack(3)]
    assert desk.tell(ev.InterruptAsked()) == [fx.Kill(2), fx.Kill(3)]


def test_a_task_that_came_with_a_delay_is_put_back_where_it_was_and_not_before() -> None:
    desk = desk_with(1)
    desk.submit("delayed", delay_s=100.0)
    desk.now += 50.0
    desk.submit("runs", timeout_s=1e6)
    desk.submit("earlier")
    desk.pass_time(60.0)
    assert one(fx.Assign, desk.end("runs")).task.task_id == "earlier"
    assert one(fx.Assign, desk.end("earlier")).task.task_id == "delayed"
    desk.submit("low", priority="low")
    desk.submit("critical", priority="critical")
    place = desk.scheduler.live["delayed"].place
    desk.tell(ev.InterruptAsked())
    desk.lose("delayed")
    assert desk.scheduler.live["delayed"].key == place


@pytest.mark.parametrize("interruptions", [1, 20])
def test_however_often_it_is_interrupted_it_keeps_its_attempts(interruptions: int) -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=1, retry_delay_s=0.0)
    for _ in range(interruptions):
        desk.tell(ev.InterruptAsked())
        desk.lose("a")
        desk.tell(ev.ResumeAsked())
        desk.get_ready()
    desk.throw("a")
    finish = one(fx.FinishTask, desk.throw("a"))
    assert finish.attempt == 2


def test_what_must_never_be_started_twice_is_not_put_back() -> None:
    desk = desk_with(1)
    desk.submit("a", function=ONCE)
    desk.tell(ev.InterruptAsked())
    finish = one(fx.FinishTask, desk.lose("a"))
    assert finish.failure is not None
    assert (finish.status, finish.failure.cause) == (Status.FAILED, Cause.INTERRUPTED)


def test_a_task_that_was_to_stop_already_ends_for_that_reason() -> None:
    desk = desk_with(2)
    desk.submit("a", timeout_s=5.0)
    desk.submit("b")
    desk.pass_time(5.0)
    desk.cancel("b")
    desk.tell(ev.InterruptAsked())
    finish = one(fx.FinishTask, desk.lose("a"))
    assert finish.failure is not None
    assert finish.failure.cause is Cause.TIMEOUT
    assert one(fx.FinishTask, desk.lose("b")).status is Status.CANCELLED


def test_while_it_is_interrupted_no_executor_is_started() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.tell(ev.DrainAsked())
    desk.tell(ev.InterruptAsked())
    assert only(fx.Launch, desk.lose("a")) == []
    assert only(fx.Launch, desk.tell(ev.TimePassed())) == []


def test_when_work_is_resumed_before_the_killed_are_gone_they_get_nothing() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.tell(ev.InterruptAsked())
    desk.tell(ev.ResumeAsked())
    effects = desk.submit("b")
    assert only(fx.Assign, effects) == []
    for slot in list(desk.scheduler.slots):
        desk.tell(ev.ExecutorLost(slot.slot_id, "killed"))
    desk.get_ready()
    assert sorted(desk.started) == ["a", "a", "b"]
