"""Who is tried again, how often, and after how long."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import make_task, rounds
from vera_supervisor.scheduling.retry import CRASH_DELAY_S, MAX_DELAY_S, delay_before_next
from vera_worker.tasks import Cause, Spent


class FixedJitter(Random):
    def __init__(self, share: float) -> None:
        super().__init__(0)
        self.share = share

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.share


def delays(cause: Cause, *, share: float = 0.5, crash_retries: int = 2, **task: Any) -> list[float]:
    """Return the delays between attempts that all end in the same way."""
    spent, rng = Spent(), FixedJitter(share)
    found: list[float] = []
    while len(found) < 100:
        next_ = delay_before_next(cause, make_task(**task), spent, crash_retries, rng)
        if next_ is None:
            break
        delay, spent = next_
        found.append(delay)
    return found


@pytest.mark.parametrize("cause", [Cause.EXCEPTION, Cause.TIMEOUT])
def test_faults_of_the_task_are_charged_to_max_retries(cause: Cause) -> None:
    assert delays(cause, max_retries=0) == []
    assert len(delays(cause, max_retries=3)) == 3


@pytest.mark.parametrize("cause", [Cause.CRASHED, Cause.WORKER_LOST])
def test_losses_are_charged_to_a_budget_of_their_own(cause: Cause) -> None:
    assert len(delays(cause, max_retries=0, crash_retries=2)) == 2
    assert delays(cause, max_retries=9, crash_retries=0) == []


@pytest.mark.parametrize(
    "cause", [Cause.MEMORY, Cause.UNSERIALISABLE_RESULT, Cause.CANCELLED, Cause.EXPIRED]
)
def test_what_would_end_the_same_way_again_is_final(cause: Cause) -> None:
    assert delays(cause, max_retries=9, crash_retries=9) == []


def test_memory_is_tried_again_once_for_each_higher_tier() -> None:
    spent, seen = Spent(), []
    while (next_ := _next_tier(spent, tiers=3)) is not None:
        delay, spent = next_
        seen.append((delay, spent.memory_tiers))
    assert seen == [(0.0, 1), (0.0, 2)]
    assert _next_tier(Spent(memory_tiers=5), tiers=3) is None, "there were more before a restart"


def _next_tier(spent: Spent, tiers: int) -> tuple[float, Spent] | None:
    task = make_task(max_retries=9)
    return delay_before_next(Cause.MEMORY, task, spent, 9, Random(1), memory_tiers=tiers)


def test_an_interruption_costs_nothing() -> None:
    spent = Spent(retries=1, crashes=1)
    assert delay_before_next(Cause.INTERRUPTED, make_task(), spent, 0, Random(1)) == (0.0, spent)


def test_the_two_budgets_do_not_touch_each_other() -> None:
    task, rng = make_task(max_retries=1), Random(1)
    after_a_crash = delay_before_next(Cause.CRASHED, task, Spent(), 1, rng)
    assert after_a_crash is not None
    after_both = delay_before_next(Cause.EXCEPTION, task, after_a_crash[1], 1, rng)
    assert after_both is not None
    assert after_both[1] == Spent(retries=1, crashes=1)
    assert delay_before_next(Cause.EXCEPTION, task, after_both[1], 1, rng) is None
    assert delay_before_next(Cause.CRASHED, task, after_both[1], 1, rng) is None


def test_the_delay_doubles_from_retry_delay_on() -> None:
    assert delays(Cause.EXCEPTION, max_retries=4, retry_delay_s=1.5) == [1.5, 3.0, 6.0, 12.0]


def test_after_a_crash_it_comes_back_soon_whatever_its_retry_delay() -> None:
    assert delays(Cause.CRASHED, retry_delay_s=500.0) == [CRASH_DELAY_S, 2 * CRASH_DELAY_S]


def test_no_retry_delay_is_no_delay() -> None:
    assert delays(Cause.EXCEPTION, max_retries=2, retry_delay_s=0.0) == [0.0, 0.0]


@rounds(200)
@given(
    st.floats(0.0, 1e7),
    st.integers(1, 90),
    st.integers(0, 2**32),
)
def test_jitter_is_a_fifth_each_way_and_the_cap_holds(
    base_s: float, failures: int, seed: int
) -> None:
    task = make_task(max_retries=failures, retry_delay_s=base_s)
    spent = Spent(retries=failures - 1)
    next_ = delay_before_next(Cause.EXCEPTION, task, spent, 0, Random(seed))
    assert next_ is not None
    delay, _ = next_
    nominal = base_s * 2.0 ** (failures - 1)
    assert delay <= MAX_DELAY_S
    assert delay <= nominal * 1.2 + 1e-9
    assert delay >= min(nominal, MAX_DELAY_S / 1.2) * 0.8 - 1e-9


def test_jitter_reaches_both_ends() -> None:
    assert delays(Cause.EXCEPTION, max_retries=1, share=0.0) == [pytest.approx(0.8)]
    assert delays(Cause.EXCEPTION, max_retries=1, share=1.0) == [pytest.approx(1.2)]


def test_tasks_that_failed_together_come_back_apart_even_at_the_cap() -> None:
    task = make_task(max_retries=1, retry_delay_s=1e9)
    rng = Random(5)
    seen = {delay_before_next(Cause.EXCEPTION, task, Spent(), 0, rng) for _ in range(100)}
    assert len(seen) == 100
