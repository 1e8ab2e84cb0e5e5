"""One executor, rung by rung, at the very moments that it asks to be woken."""

import pytest

from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling.slot import (
    ANSWER_S,
    DUMP_LEAD_S,
    RETIRE_S,
    VANISH_S,
    Alarm,
    Limits,
    Slot,
    SlotState,
)
from vera_worker.tasks import Cause

LIMITS = Limits(start_timeout_s=30.0, check_interval_s=10.0, kill_grace_s=3.0)


def limits(kill_grace_s: float) -> Limits:
    return Limits(start_timeout_s=30.0, check_interval_s=10.0, kill_grace_s=kill_grace_s)


def busy_slot(now: float = 0.0, timeout_s: float = 5.0) -> Slot:
    slot = Slot(1, now, LIMITS, Alarm())
    slot.rest(now, LIMITS)
    slot.assign("a", 1, now, timeout_s)
    return slot


def descent(slot: Slot, limits: Limits) -> list[tuple[float, fx.Effect]]:
    """Return what happens when nothing answers, until the kill, and when."""
    steps: list[tuple[float, fx.Effect]] = []
    while slot.state is not SlotState.KILLING:
        now = slot.deadline
        steps += [(now, effect) for effect in slot.time_up(now, limits)]
    return steps


def test_it_goes_down_the_ladder_one_rung_at_a_time() -> None:
    assert descent(busy_slot(timeout_s=5.0), LIMITS) == [
        (5.0, fx.Stop(1)),
        (pytest.approx(8.0 - DUMP_LEAD_S), fx.DumpStack(1)),
        (pytest.approx(8.0), fx.Kill(1)),
    ]


@pytest.mark.parametrize("grace", [0.0, 1e-6, 0.01, DUMP_LEAD_S, 0.2000001, 0.3, 1.0, 3.0, 3600.0])
def test_from_the_deadline_to_the_kill_it_takes_exactly_the_grace(grace: float) -> None:
    steps = descent(busy_slot(timeout_s=5.0), limits(grace))
    assert [type(effect) for _, effect in steps] == [fx.Stop, fx.DumpStack, fx.Kill]
    assert steps[0][0] == 5.0
    assert steps[-1][0] - 5.0 == pytest.approx(grace, abs=1e-9)
    assert [at for at, _ in steps] == sorted(at for at, _ in steps)


def test_what_wakes_it_late_does_not_skip_a_rung() -> None:
    slot, now, kinds = busy_slot(), 1e6, []
    for _ in range(3):
        kinds += [type(effect) for effect in slot.time_up(now, LIMITS)]
        now = slot.deadline
    assert kinds == [fx.Stop, fx.DumpStack, fx.Kill]


def test_the_first_reason_counts() -> None:
    slot = busy_slot()
    assert slot.stop(Cause.CANCELLED, 1.0, LIMITS) == [fx.Stop(1)]
    deadline = slot.deadline
    assert slot.stop(Cause.TIMEOUT, 2.0, LIMITS) == []
    assert slot.why is Cause.CANCELLED
    assert slot.deadline == deadline


def test_a_second_reason_does_not_lengthen_the_grace() -> None:
    slot = busy_slot(timeout_s=5.0)
    slot.time_up(5.0, LIMITS)
    slot.stop(Cause.CANCELLED, 7.0, LIMITS)
    assert slot.why is Cause.TIMEOUT
    assert descent(slot, LIMITS)[-1][0] == pytest.approx(8.0)


def test_a_polite_end_makes_it_free_for_the_next() -> None:
    slot = busy_slot()
    slot.time_up(5.0, LIMITS)
    assert slot.runs("a", 1)
    slot.rest(6.0, LIMITS)
    slot.assign("b", 1, 6.0, 5.0)
    assert slot.why is None
    assert not slot.runs("a", 1)
    assert len(descent(slot, LIMITS)) == 3


def test_each_attempt_has_a_dump_of_its_own() -> None:
    slot = busy_slot()
    slot.time_up(5.0, LIMITS)
    slot.time_up(slot.deadline, LIMITS)
    slot.rest(8.0, LIMITS)
    slot.assign("b", 1, 8.0, 1.0)
    assert [type(effect) for _, effect in descent(slot, LIMITS)] == [
        fx.Stop,
        fx.DumpStack,
        fx.Kill,
    ]


@pytest.mark.parametrize(
    ("task_id", "attempt", "runs"), [("a", 1, True), ("a", 2, False), ("b", 1, False)]
)
def test_it_runs_one_attempt_of_one_task(task_id: str, attempt: int, runs: bool) -> None:
    assert busy_slot().runs(task_id, attempt) is runs


def test_once_killed_it_runs_nothing_and_is_killed_once() -> None:
    slot = busy_slot()
    assert slot.kill(1.0) == [fx.Kill(1)]
    assert not slot.runs("a", 1)
    assert slot.kill(2.0) == []
    assert slot.stop(Cause.CANCELLED, 2.0, LIMITS) == []
    assert slot.deadline == 1.0 + VANISH_S


def test_only_an_idle_one_gets_a_task() -> None:
    with pytest.raises(AssertionError):
        Slot(1, 0.0, LIMITS, Alarm()).assign("a", 1, 0.0, 1.0)
    with pytest.raises(AssertionError):
        busy_slot().assign("b", 1, 0.0, 1.0)


def test_an_executor_that_does_not_get_ready_is_killed() -> None:
    assert descent(Slot(1, 0.0, LIMITS, Alarm()), LIMITS) == [(30.0, fx.Kill(1))]


def test_an_idle_executor_is_asked_for_a_sign_of_life() -> None:
    slot = Slot(1, 0.0, LIMITS, Alarm())
    slot.rest(0.0, LIMITS)
    assert slot.time_up(slot.deadline, LIMITS) == [fx.Check(1)]
    assert repr(slot) == "<Slot 1 checking>"
    slot.answered(11.0, LIMITS)
    assert repr(slot) == "<Slot 1 idle>"
    assert slot.deadline == 21.0
    assert slot.idle_since == 0.0, "a self-check is no work"


def test_an_idle_executor_that_does_not_answer_is_killed() -> None:
    slot = Slot(1, 0.0, LIMITS, Alarm())
    slot.rest(0.0, LIMITS)
    assert descent(slot, LIMITS) == [(10.0, fx.Check(1)), (10.0 + ANSWER_S, fx.Kill(1))]


def test_an_executor_that_does_not_leave_is_killed() -> None:
    slot = Slot(1, 0.0, LIMITS, Alarm())
    slot.rest(0.0, LIMITS)
    slot.retire(1.0)
    assert descent(slot, LIMITS) == [(1.0 + RETIRE_S, fx.Kill(1))]


def test_one_that_leaves_has_no_task_any_more() -> None:
    slot = busy_slot()
    slot.retire(1.0)
    assert repr(slot) == "<Slot 1 retiring>"


def test_its_repr_tells_what_it_does() -> None:
    slot = busy_slot()
    assert repr(slot) == "<Slot 1 busy a attempt 1>"
    slot.rest(1.0, LIMITS)
    assert repr(slot) == "<Slot 1 idle>"
