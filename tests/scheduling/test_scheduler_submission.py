"""From a submission to its end: what is stored, what is told, and when."""

from typing import Any

import pytest

from tests.fakes.makers import make_task
from tests.scheduling.desk import Desk, desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.certificates import EXPIRED
from vera_supervisor.scheduling.effects import Refusal
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Progress, Record, Spent


def test_a_task_from_its_submission_to_its_end() -> None:
    desk = desk_with(1)
    task = make_task("a")
    assert desk.tell(ev.Submitted(task)) == [
        fx.AddTask(task, 0.0, None),
        fx.Accept("a", Status.QUEUED, 1, known=False),
        fx.StartAttempt("a", 1, Spent(), acknowledge=False),
        fx.Assign(1, task, 1),
    ]
    assert desk.scheduler.running == 1
    desk.now += 2.5
    assert desk.end("a", output=b"hello") == [
        fx.FinishTask("a", 1, Status.COMPLETED, b"42", None, b"hello"),
        fx.Announce(task, Status.COMPLETED, None, 0.0, 2.5, attempt=1),
    ]
    assert desk.scheduler.live == {}
    assert desk.scheduler.running == desk.scheduler.queued == 0


def test_nothing_is_told_before_it_is_stored() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask, fx.FinishTask)
    assert only(fx.Accept, desk.submit("a")) == []
    assert desk.scheduler.queued == 1
    assert one(fx.Accept, desk.saved()).task_id == "a"
    assert only(fx.Announce, desk.end("a")) == []
    assert one(fx.Announce, desk.saved()).status is Status.COMPLETED


def test_a_task_is_not_started_before_it_is_stored() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    assert only(fx.Assign, desk.submit("a")) == []
    assert one(fx.Assign, desk.saved()).task.task_id == "a"


def test_while_an_end_is_being_stored_the_executor_works_on() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.submit("b")
    desk.hold(fx.FinishTask)
    assert one(fx.Assign, desk.end("a")).task.task_id == "b"


def test_times_are_from_acceptance_to_the_last_start_and_from_there_to_the_end() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.submit("b")
    desk.now += 3.0
    desk.end("a")
    desk.now += 4.0
    desk.hold(fx.FinishTask)
    desk.end("b")
    desk.now += 50.0  # the store's time is not the task's
    end = one(fx.Announce, desk.saved())
    assert (end.waited_s, end.ran_s) == (3.0, 4.0)


def test_a_full_queue_takes_nothing_more_until_there_is_room() -> None:
    desk = desk_with(1, queue_size=2)
    for name in ("runs", "first", "second"):
        desk.submit(name)
    refusal = one(fx.Refuse, desk.submit("third"))
    assert refusal.refusal is Refusal.QUEUE_FULL
    assert "2 tasks" in refusal.detail
    assert "third" not in desk.scheduler.live
    desk.end("runs")
    assert only(fx.Refuse, desk.submit("third")) == []


def test_delayed_tasks_and_those_being_stored_take_room_too() -> None:
    desk = desk_with(1, queue_size=2)
    desk.submit("delayed", delay_s=9.0)
    desk.hold(fx.AddTask)
    desk.submit("being stored")
    assert desk.scheduler.queued == 2
    assert one(fx.Refuse, desk.submit("b")).refusal is Refusal.QUEUE_FULL


def test_a_duplicate_is_welcome_in_a_full_queue() -> None:
    desk = Desk(max_workers=1, queue_size=1)
    desk.submit("a")
    assert one(fx.Accept, desk.submit("a")) == fx.Accept("a", Status.QUEUED, 1, known=True)


def test_the_same_again_is_the_same_task_wherever_it_stands() -> None:
    desk = desk_with(1)
    desk.submit("a")
    assert desk.submit("a") == [fx.Accept("a", Status.RUNNING, None, known=True)]
    desk.submit("b")
    assert desk.submit("b") == [fx.Accept("b", Status.QUEUED, 1, known=True)]
    desk.submit("c", delay_s=10.0)
    assert desk.submit("c") == [fx.Accept("c", Status.QUEUED, None, known=True)]


def test_an_end_that_is_not_stored_yet_is_not_told_to_one_who_submits_again() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.hold(fx.FinishTask)
    desk.end("a")
    assert one(fx.Accept, desk.submit("a")).status is Status.RUNNING


def test_another_body_under_the_same_id_is_a_conflict() -> None:
    desk = desk_with(1)
    desk.submit("a", digest=b"one")
    refusal = one(fx.Refuse, desk.submit("a", digest=b"two"))
    assert refusal.refusal is Refusal.CONFLICT
    assert refusal.digest == b"two"


def test_the_same_while_the_first_is_being_stored_waits_for_the_same_answer() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a", digest=b"one")
    assert desk.submit("a", digest=b"one") == []
    assert one(fx.Accept, desk.saved()).digest == b"one"
    assert len(only(fx.Assign, desk.effects)) == 1


def test_another_body_while_the_first_is_being_stored_is_a_conflict_at_once() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a", digest=b"one")
    refusal = one(fx.Refuse, desk.submit("a", digest=b"two"))
    assert (refusal.refusal, refusal.digest) == (Refusal.CONFLICT, b"two")
    assert one(fx.Accept, desk.saved()).digest == b"one"


@pytest.mark.parametrize("status", list(Status))
def test_an_id_that_only_the_store_knows_is_answered_with_what_the_store_knows(
    status: Status,
) -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a", digest=b"one")
    desk.submit("b", digest=b"two")
    known = make_task("a", digest=b"one")
    add_a, add_b = desk.waiting
    existing = Record(task=known, status=status, attempt=1)
    assert desk.tell(ev.Saved(add_a, existing)) == [
        fx.Accept("a", status, None, known=True, digest=b"one")
    ]
    existing = Record(task=make_task("b", digest=b"one"), status=status, attempt=1)
    assert one(fx.Refuse, desk.tell(ev.Saved(add_b, existing))).refusal is Refusal.CONFLICT
    assert desk.scheduler.live == {}
    assert desk.scheduler.queued == 0


def test_a_task_that_was_stored_although_the_store_said_no_is_taken_up_when_it_comes_again() -> (
    None
):
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a", digest=b"one")
    assert one(fx.Refuse, desk.save_failed()).refusal is Refusal.STORE
    desk.submit("a", digest=b"one")
    orphan = Record(task=make_task("a", digest=b"one"))
    effects = desk.tell(ev.Saved(desk.waiting.popleft(), orphan))
    assert one(fx.Accept, effects).known
    assert one(fx.Assign, effects).task.task_id == "a"
    desk.end("a")
    assert desk.scheduler.live == {}


def test_positions_count_from_one_in_the_order_of_starting() -> None:
    desk = Desk(max_workers=1)
    for name, priority in (("n", "normal"), ("l", "low"), ("c", "critical"), ("m", "normal")):
        desk.submit(name, priority=priority)
    positions = {name: desk.scheduler.position(desk.scheduler.live[name]) for name in "nlcm"}
    assert positions == {"c": 1, "n": 2, "m": 3, "l": 4}


def test_what_keeps_a_task_waiting_is_said() -> None:
    desk = desk_with(1)
    for name, delay_s in (("runs", 0.0), ("queued", 0.0), ("delayed", 9.0)):
        desk.submit(name, delay_s=delay_s)
    live, blocked_by = desk.scheduler.live, desk.scheduler.blocked_by
    assert [blocked_by(live[name]) for name in live] == [None, "executors", "delay"]
    desk.tell(ev.DrainAsked())
    assert blocked_by(live["queued"]) == "draining"


def test_a_delayed_task_starts_when_its_delay_has_passed_and_not_before() -> None:
    desk = desk_with(1)
    desk.submit("a", delay_s=10.0)
    assert desk.scheduler.queued == 1
    ((at, _), (also_at, assign)) = desk.pass_time(20.0)
    assert at == also_at == 10.0
    assert isinstance(assign, fx.Assign)


def test_a_delay_counts_from_the_submission_not_from_the_store() -> None:
    desk = desk_with(1)
    desk.hold(fx.AddTask)
    desk.submit("a", delay_s=10.0)
    desk.now += 11.0
    assert len(only(fx.Assign, desk.saved())) == 1


def test_a_task_that_may_not_start_any_more_fails_without_a_start() -> None:
    desk = desk_with(1)
    desk.submit("runs")
    desk.submit("late", expires_in_s=5.0)
    desk.submit("patient", expires_in_s=500.0)
    desk.now += 5.0
    effects = desk.end("runs")
    finish = next(effect for effect in only(fx.FinishTask, effects) if effect.task_id == "late")
    assert finish.status is Status.FAILED
    assert finish.failure is not None
    assert (finish.failure.cause, finish.attempt) == (Cause.EXPIRED, 0)
    assert one(fx.Assign, effects).task.task_id == "patient"
    late = next(end for end in only(fx.Announce, effects) if end.task.task_id == "late")
    assert (late.waited_s, late.ran_s) == (None, None)


@pytest.mark.parametrize("executors", [0, 1])
@pytest.mark.parametrize(
    "wait", [{}, {"delay_s": 60.0}, {"depends_on": ("runs",)}, {"function": "gone"}]
)
def test_a_task_fails_when_its_time_to_start_passes_whatever_it_waits_for(
    executors: int, wait: dict[str, Any]
) -> None:
    desk = desk_with(executors, functions=frozenset({"work"}))
    desk.submit("runs")
    desk.submit("late", expires_in_s=5.0, **wait)
    ends = [(at, e) for at, e in desk.pass_time(60.0) if isinstance(e, fx.FinishTask)]
    ((at, end),) = ends
    assert (at, end.task_id, end.failure) == (5.0, "late", EXPIRED)
    assert "late" not in desk.scheduler.live
    assert desk.scheduler.queued == 1 - executors


def test_a_task_that_runs_when_its_time_to_start_passes_may_end_but_is_not_tried_again() -> None:
    desk = desk_with(1)
    desk.submit("runs", expires_in_s=5.0, max_retries=1, retry_delay_s=60.0)
    assert not [e for _, e in desk.pass_time(10.0) if isinstance(e, fx.FinishTask)]
    desk.throw("runs")
    ends = [(at, e) for at, e in desk.pass_time(60.0) if isinstance(e, fx.FinishTask)]
    assert [(at, end.failure) for at, end in ends] == [(0.0, EXPIRED)]


def test_what_may_start_for_long_takes_no_room_once_it_has_ended() -> None:
    desk = desk_with(1)
    for number in range(1000):
        desk.submit(f"{number}", expires_in_s=1e6)
        desk.end(f"{number}")
    assert len(desk.scheduler.expiries._due) < 200


def test_many_that_expired_do_not_hold_up_the_one_that_did_not() -> None:
    desk = desk_with(1)
    desk.submit("runs")
    for number in range(50):
        desk.submit(f"late {number}", expires_in_s=1.0)
    desk.submit("last")
    desk.now += 2.0
    effects = desk.end("runs")
    assert len(only(fx.FinishTask, effects)) == 51
    assert one(fx.Assign, effects).task.task_id == "last"


def test_what_a_running_task_says_of_itself_is_kept_and_what_others_say_is_not() -> None:
    desk = desk_with(1)
    desk.submit("a")
    half = Progress(0.5, "half")
    desk.tell(ev.AttemptReported(1, "a", 2, half))
    desk.tell(ev.AttemptReported(9, "a", 1, half))
    assert desk.scheduler.live["a"].progress is None
    desk.tell(ev.AttemptReported(1, "a", 1, half))
    assert desk.scheduler.live["a"].progress == half
