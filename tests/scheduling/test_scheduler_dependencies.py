"""Tasks that start when others have ended."""

import pytest

from tests.fakes.makers import make_task
from tests.scheduling.desk import Desk, desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
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


def test_it_is_stored_after_those_that_it_depends_on() -> None:
    desk = desk_with(2)
    desk.hold(fx.AddTask)
    desk.submit("a")
    desk.submit("b")
    assert desk.submit("c", depends_on=("a", "b")) == []
    assert only(fx.AddTask, desk.saved()) == []
    assert one(fx.AddTask, desk.saved()).task.task_id == "c"
    assert one(fx.Accept, desk.saved()).task_id == "c"
    desk.end("a")
    desk.end("b")
    assert desk.started == ["a", "b", "c"]


def test_it_is_stored_at_once_when_they_are() -> None:
    desk = desk_with(2)
    desk.submit("a")
    desk.hold(fx.AddTask)
    effects = desk.submit("b", depends_on=("a", "old"), ended={"old": Status.COMPLETED})
    assert one(fx.AddTask, effects).task.task_id == "b"


@pytest.mark.parametrize("if_one_fails", OnDependencyFailure)
def test_when_one_is_refused_so_are_all_that_depend_on_it(
    if_one_fails: OnDependencyFailure,
) -> None:
    """Else they might run before it: stored although it was refused, it may be sent again."""
    desk = desk_with(2)
    desk.hold(fx.AddTask)
    desk.submit("a")
    desk.submit("other")
    for task_id, others in (("b", ("a",)), ("c", ("a", "b", "other")), ("d", ("other",))):
        desk.submit(task_id, depends_on=others, on_dependency_failure=if_one_fails)
    refused = only(fx.Refuse, desk.save_failed())
    assert [refuse.task_id for refuse in refused] == ["a", "b", "c"]
    reasons = {(refuse.refusal, refuse.detail) for refuse in refused}
    assert reasons == {(fx.Refusal.STORE, "the disk is full")}
    assert desk.scheduler.live.keys() == {"other", "d"}
    assert desk.scheduler.queued == len(desk.scheduler.live)
    assert [add.task.task_id for add in only(fx.AddTask, desk.saved())] == ["d"]
    desk.saved()
    desk.end("other")
    assert desk.started == ["other", "d"]


def test_refused_with_one_it_can_be_sent_again_and_runs_after_it() -> None:
    desk = desk_with(2)
    desk.hold(fx.AddTask)
    desk.submit("a")
    desk.submit("b", depends_on=("a",), on_dependency_failure=RUN)
    desk.save_failed()
    desk.submit("a")
    desk.submit("b", depends_on=("a",), on_dependency_failure=RUN)
    in_doubt = Record(task=make_task("a"), number=1)  # it was stored all the same
    effects = desk.tell(ev.Saved(desk.waiting.popleft(), in_doubt))
    assert one(fx.Accept, effects).known
    desk.saved()
    assert desk.started == ["a"]
    desk.end("a")
    assert desk.started == ["a", "b"]


def test_a_long_chain_is_refused_as_a_whole() -> None:
    desk = desk_with(1, queue_size=3000)
    desk.hold(fx.AddTask)
    desk.submit("0")
    for number in range(1, 3000):
        desk.submit(str(number), depends_on=(str(number - 1),))
    assert len(only(fx.Refuse, desk.save_failed())) == 3000
    assert desk.scheduler.live == {}


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (Status.COMPLETED, "it starts"),
        (Status.FAILED, "it fails"),
        (Status.QUEUED, "it is refused"),
    ],
)
def test_when_another_task_has_the_id_of_one_how_that_ended_counts(
    status: Status, then: str
) -> None:
    """One that has not ended is stored although its client was refused: it is none of ours."""
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a", digest=b"two")
    desk.submit("b", depends_on=("a",), digest=b"b")
    known = Record(task=make_task("a", digest=b"one"), number=1, status=status)
    effects = desk.tell(ev.Saved(desk.waiting.popleft(), known))
    refused = {
        refuse.task_id: (refuse.refusal, refuse.field) for refuse in only(fx.Refuse, effects)
    }
    assert refused.pop("a") == (fx.Refusal.CONFLICT, "task_id")
    no_such = {"b": (fx.Refusal.DEPENDENCY, "depends_on")}
    assert refused == (no_such if then == "it is refused" else {})
    if not refused:
        desk.saved()
    assert desk.started == (["b"] if then == "it starts" else [])
    assert ends(desk) == ({"b": Status.FAILED} if then == "it fails" else {})


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
