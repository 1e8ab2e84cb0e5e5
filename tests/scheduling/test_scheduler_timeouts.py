"""A task that does not end within its timeout."""

import pytest

from tests.scheduling.desk import desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause


def test_it_is_asked_then_dumped_then_killed_and_fails_with_the_cause_timeout() -> None:
    desk = desk_with(1, kill_grace_s=3.0)
    desk.submit("a", timeout_s=10.0)
    assert desk.pass_time(13.0) == [
        (10.0, fx.Stop(1)),
        (pytest.approx(12.8), fx.DumpStack(1)),
        (pytest.approx(13.0), fx.Kill(1)),
    ]
    finish = one(fx.FinishTask, desk.lose("a"))
    assert finish.status is Status.FAILED
    failure = finish.failure
    assert failure is not None
    assert (failure.cause, failure.timeout_s, failure.signal) == (Cause.TIMEOUT, 10.0, "SIGKILL")
    assert failure.duration_s == pytest.approx(13.0)
    assert "10 s" in failure.message


def test_a_polite_end_within_the_grace_spares_the_executor() -> None:
    desk = desk_with(1)
    desk.submit("a", timeout_s=10.0)
    desk.pass_time(11.0)
    finish = one(fx.FinishTask, desk.end("a", output=b"so far"))
    assert (finish.status, finish.result, finish.output) == (Status.FAILED, None, b"so far")
    assert finish.failure is not None
    assert (finish.failure.cause, finish.failure.output_tail) == (Cause.TIMEOUT, "so far")
    assert one(fx.Assign, desk.submit("b")).slot_id == 1


def test_what_it_raised_when_it_was_stopped_is_kept() -> None:
    desk = desk_with(1)
    desk.submit("a", timeout_s=10.0)
    desk.pass_time(11.0)
    failure = one(fx.FinishTask, desk.throw("a")).failure
    assert failure is not None
    assert (failure.cause, failure.type) == (Cause.TIMEOUT, "ValueError")


@pytest.mark.parametrize("grace", [0.0, 0.05])
def test_with_next_to_no_grace_it_is_killed_at_its_deadline(grace: float) -> None:
    desk = desk_with(1, kill_grace_s=grace)
    desk.submit("a", timeout_s=10.0)
    timed = desk.pass_time(10.0 + grace)
    assert [type(effect) for _, effect in timed] == [fx.Stop, fx.DumpStack, fx.Kill]


def test_an_answer_after_the_kill_changes_nothing_and_is_counted() -> None:
    desk = desk_with(1)
    desk.submit("a", timeout_s=10.0)
    desk.pass_time(13.0)
    slot = desk.slot_of("a")
    answer = ev.AttemptEnded(slot.slot_id, "a", 1, b"42", None)
    assert desk.tell(answer) == []
    assert desk.scheduler.late_answers == 1
    assert one(fx.FinishTask, desk.lose("a")).status is Status.FAILED
    assert desk.tell(answer) == []
    assert desk.scheduler.late_answers == 2
    assert len(only(fx.Announce, desk.effects)) == 1


def test_a_timeout_is_charged_to_max_retries() -> None:
    desk = desk_with(1)
    desk.submit("a", timeout_s=10.0, max_retries=1, retry_delay_s=0.0)
    desk.pass_time(10.0)
    assert one(fx.Assign, desk.end("a")).attempt == 2
    desk.pass_time(10.0)
    finish = one(fx.FinishTask, desk.end("a"))
    assert finish.failure is not None
    assert (finish.attempt, finish.failure.cause) == (2, Cause.TIMEOUT)


def test_each_attempt_has_the_whole_timeout() -> None:
    desk = desk_with(1)
    desk.submit("a", timeout_s=10.0, max_retries=1, retry_delay_s=0.0)
    desk.now += 9.0
    desk.throw("a")
    assert desk.pass_time(9.9) == []
    ((at, effect),) = desk.pass_time(0.2)
    assert at == pytest.approx(0.1)
    assert effect == fx.Stop(1)


def test_a_killed_process_that_does_not_vanish_is_given_up() -> None:
    desk = desk_with(1)
    desk.submit("a", timeout_s=10.0)
    timed = desk.pass_time(20.0)
    finish = one(fx.FinishTask, [effect for _, effect in timed])
    assert finish.failure is not None
    assert finish.failure.cause is Cause.TIMEOUT
    assert [slot.slot_id for slot in desk.scheduler.slots] == [2], "another one takes its place"
    assert desk.tell(ev.ExecutorLost(1, "gone at last")) == []
    assert len(only(fx.Announce, desk.effects)) == 1


def test_an_answer_of_an_earlier_attempt_in_the_same_executor_changes_nothing() -> None:
    desk = desk_with(1)
    desk.submit("a", max_retries=1, retry_delay_s=0.0)
    desk.throw("a")
    assert desk.slot_of("a").attempt == 2
    assert desk.tell(ev.AttemptEnded(1, "a", 1, b"42", None)) == []
    assert desk.scheduler.late_answers == 1
    assert desk.states() == ["BUSY"]
