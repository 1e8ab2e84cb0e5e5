"""Tasks that start when others have ended."""

import pytest

from tests.fakes.makers import make_task
from tests.scheduling.desk import Desk, desk_with, one, only
from vera_supervisor import effects as fx
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, OnDependencyFailure, Record

RUN = OnDependencyFailure.RUN


def ends(desk: Desk) -> dict[str, Status]:
    return {effect.task_id: effect.status for effect in only(fx.FinishTask, desk.effects)}


def test_a_task_starts_when_all_that_it_depends_on_have_completed() -> None:
    desk = desk_with(4)
    desk.submit("a")
    desk.submit("b")
    desk.submit("c", depends_on=("a", "b"))
    assert desk.blocked_by("c") == "dependencies"
    assert desk.scheduler.queued == 1
    desk.end("a")
    assert desk.started == ["a", "b"]
    desk.end("b")
    assert desk.started == ["a", "b", "c"]
    desk.end("c")
    assert desk.scheduler.live == {}


def test_it_waits_until_the_end_of_the_other_is_stored() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.submit("b", depends_on=("a",))
    desk.hold(fx.FinishTask)
    desk.end("a")
    assert desk.started == ["a"]
    desk.saved()
    assert desk.started == ["a", "b"]


def test_when_one_fails_all_that_depend_on_it_fail_without_having_run() -> None:
    desk = desk_with(4)
    desk.submit("a")
    desk.submit("b", depends_on=("a",))
    desk.submit("c", depends_on=("b",))
    desk.submit("other")
    desk.throw("a")
    assert ends(desk) == {"a": Status.FAILED, "b": Status.FAILED, "c": Status.FAILED}
    failure = only(fx.FinishTask, desk.effects)[1].failure
    assert failure is not None
    assert failure.cause is Cause.CANCELLED
    assert failure.type == "DependencyFailed"
    assert "'a'" in failure.message
    assert desk.started == ["a", "other"]


def test_it_does_not_wait_for_the_others_once_one_has_failed() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.submit("b")
    desk.submit("c", depends_on=("a", "b"))
    desk.cancel("a")
    desk.end("a")
    assert ends(desk) == {"a": Status.CANCELLED, "c": Status.FAILED}
    desk.end("b")
    assert desk.scheduler.live == {}


def test_it_runs_all_the_same_if_it_said_so() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.submit("b", depends_on=("a",), on_dependency_failure=RUN)
    desk.throw("a")
    assert desk.started == ["a", "b"]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_one_that_had_ended_before_counts_as_it_ended(status: Status) -> None:
    desk = desk_with(1)
    effects = desk.submit("b", depends_on=("a",), ended={"a": status})
    assert one(fx.Accept, effects).status is Status.QUEUED
    assert desk.started == (["b"] if status is Status.COMPLETED else [])
    assert ends(desk) == ({} if status is Status.COMPLETED else {"b": Status.FAILED})


def test_a_task_cannot_depend_on_one_that_there_is_not() -> None:
    desk = desk_with(1)
    refuse = one(fx.Refuse, desk.submit("b", depends_on=("b",)))
    assert refuse.refusal is fx.Refusal.DEPENDENCY
    assert "'b'" in refuse.detail
    assert desk.scheduler.live == {}


def test_it_may_depend_on_one_that_is_being_stored_and_fails_if_that_is_refused() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a")
    desk.submit("b", depends_on=("a",))
    desk.save_failed()
    effects = desk.saved()
    assert one(fx.Accept, effects).task_id == "b"
    assert ends(desk) == {"b": Status.FAILED}
    assert desk.scheduler.live == {}


def test_what_ends_while_it_is_being_stored_is_not_waited_for() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.hold(fx.AddTask)
    desk.submit("b", depends_on=("a",))
    desk.end("a")
    assert desk.started == ["a"]
    desk.saved()
    assert desk.started == ["a", "b"]


def test_its_delay_runs_from_its_acceptance() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.submit("b", depends_on=("a",), delay_s=10.0)
    desk.pass_time(4.0)
    desk.end("a")
    assert desk.blocked_by("b") == "delay"
    assert [t for t, e in desk.pass_time(20.0) if isinstance(e, fx.Assign)] == [6.0]


def test_a_cancelled_one_is_not_told_of_the_others() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.submit("b", depends_on=("a",))
    desk.cancel("b")
    desk.end("a")
    assert ends(desk) == {"a": Status.COMPLETED, "b": Status.CANCELLED}
    assert desk.started == ["a"]


def test_after_a_restart_it_still_waits_for_those_that_have_not_ended() -> None:
    desk = desk_with(1)
    b = make_task("b", depends_on=("a", "ended", "forgotten"))
    desk.recover(Record(task=make_task("a")), Record(task=b), ended={"ended": Status.COMPLETED})
    assert desk.started == ["a"]
    assert desk.blocked_by("b") == "dependencies"
    desk.end("a")
    assert desk.started == ["a", "b"]


def test_after_a_restart_it_fails_if_one_had_failed() -> None:
    desk = desk_with(1)
    b = make_task("b", depends_on=("a",))
    desk.recover(Record(task=b), ended={"a": Status.FAILED})
    assert ends(desk) == {"b": Status.FAILED}
    assert desk.scheduler.live == {}
