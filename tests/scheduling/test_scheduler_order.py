"""Who starts first (H8, O3)."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from tests.scheduling.desk import Desk, desk_with
from vera_worker.tasks import RANK, Priority

STEP_S = 60.0


def run_all(desk: Desk) -> None:
    while desk.scheduler.running:
        desk.end(desk.started[-1])


@pytest.mark.parametrize("aging_step_s", [0.0, STEP_S])
def test_what_comes_at_one_moment_starts_by_class_and_within_it_in_order(
    aging_step_s: float,
) -> None:
    desk = desk_with(1, aging_step_s=aging_step_s)
    desk.submit("runs", timeout_s=1e6)
    for number in range(3):
        for priority in ("low", "critical", "normal", "high"):
            desk.submit(f"{priority} {number}", priority=Priority(priority))
    run_all(desk)
    assert desk.started[1:] == [f"{priority} {n}" for priority in Priority for n in range(3)]


def test_ten_thousand_in_bursts_start_in_order() -> None:
    desk = desk_with(1, aging_step_s=STEP_S, queue_size=10_000)
    rng = Random(11)
    desk.submit("runs", timeout_s=1e9)
    keys: dict[str, tuple[float, int, int]] = {}
    for number in range(9_999):
        if rng.random() < 0.05:
            desk.now += rng.choice((0.0, 0.001, 1.0, 59.0))
        priority = rng.choice(list(Priority))
        rank = RANK[priority]
        keys[f"{number}"] = (round(desk.now + rank * STEP_S, 6), rank, number)
        desk.submit(f"{number}", priority=priority)
    run_all(desk)
    order = [keys[name] for name in desk.started[1:]]
    by_class = [[key[2] for key in order if key[1] == rank] for rank in range(4)]
    assert all(numbers == sorted(numbers) for numbers in by_class), "FIFO within each class"
    assert [key[0] for key in order] == sorted(key[0] for key in order)


def test_endless_critical_work_does_not_starve_a_low_task_with_aging() -> None:
    desk = desk_with(1, aging_step_s=STEP_S, queue_size=1000)
    desk.submit("0", priority=Priority.CRITICAL)
    desk.submit("low", priority=Priority.LOW)
    for number in range(1, 400):
        desk.now += 1.0
        desk.submit(f"{number}", priority=Priority.CRITICAL)
        desk.end(desk.started[-1])
        if "low" in desk.started:
            break
    assert number == pytest.approx(3 * STEP_S, abs=2)


def test_in_strict_order_it_would_wait_for_ever() -> None:
    desk = desk_with(1, aging_step_s=0.0, queue_size=1000)
    desk.submit("0", priority=Priority.CRITICAL)
    desk.submit("low", priority=Priority.LOW)
    for number in range(1, 400):
        desk.now += 1.0
        desk.submit(f"{number}", priority=Priority.CRITICAL)
        desk.end(desk.started[-1])
    assert "low" not in desk.started


@rounds(40)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Priority)), st.floats(0.0, 100.0), st.booleans()),
        max_size=30,
    )
)
def test_no_lower_effective_priority_starts_before_a_higher_one_that_waits(
    arrivals: list[tuple[Priority, float, bool]],
) -> None:
    desk = desk_with(1, aging_step_s=STEP_S)
    desk.submit("runs", timeout_s=1e9)
    waiting: dict[str, float] = {}
    for number, (priority, later, one_ends) in enumerate(arrivals):
        desk.now += later
        desk.submit(f"{number}", priority=priority, timeout_s=1e9)
        waiting[f"{number}"] = desk.now + RANK[priority] * STEP_S
        if one_ends:
            desk.end(desk.started[-1])
            key = waiting.pop(desk.started[-1])
            assert all(key <= other + 1e-6 for other in waiting.values())
