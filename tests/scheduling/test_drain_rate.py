"""What a client that is sent away is told."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from vera_supervisor.scheduling.drain_rate import MAX_RETRY_AFTER_S, DrainRate


@pytest.mark.parametrize("look_every_s", [0.25, 1.0, 10.0, 60.0])
@pytest.mark.parametrize("rate", [0.5, 7.0, 3000.0])
def test_a_constant_rate_is_found_however_often_one_looks(rate: float, look_every_s: float) -> None:
    drain, now = DrainRate(0.0), 0.0
    for _ in range(400):
        drain.note(1)  # what came between two looks counts alike, early or late
        drain.note(round(rate * look_every_s * 1000) - 1)
        now += look_every_s
        drain.look(now)
    assert drain.per_second(now) == pytest.approx(rate * 1000, rel=0.01)


def test_the_first_rate_is_right_after_one_look() -> None:
    drain = DrainRate(0.0)
    drain.note(50)
    assert drain.per_second(5.0) == pytest.approx(10.0)


def test_after_a_change_the_new_rate_wins_within_a_minute() -> None:
    drain = DrainRate(0.0)
    for second in range(1, 121):
        drain.note(100 if second <= 60 else 10)
        drain.look(float(second))
    assert drain.per_second(120.0) == pytest.approx(10.0, rel=0.2)


def test_when_nothing_drains_the_rate_fades() -> None:
    drain = DrainRate(0.0)
    drain.note(100)
    drain.look(10.0)
    assert drain.per_second(40.0) < 3.0


def test_nothing_measured_is_no_rate_but_some_advice() -> None:
    drain = DrainRate(100.0)
    assert drain.per_second(100.0) == 0.0
    assert 1 <= drain.retry_after(100.0) <= MAX_RETRY_AFTER_S


def test_a_clock_that_stands_or_goes_back_does_no_harm() -> None:
    drain = DrainRate(100.0)
    drain.note(10)
    assert drain.per_second(100.0) == 0.0
    assert drain.per_second(50.0) == 0.0
    assert drain.per_second(101.0) == pytest.approx(10.0)


def test_each_who_is_sent_away_is_told_of_the_place_after_that_of_the_one_before() -> None:
    drain = DrainRate(0.0)
    drain.note(100)  # ten a second
    told = [drain.retry_after(10.0) for _ in range(1000)]
    assert [told[ahead] for ahead in (0, 4, 5, 49)] == [1, 1, 2, 10]
    assert told[-1] == MAX_RETRY_AFTER_S


def test_who_only_asks_takes_no_place_in_the_line() -> None:
    drain = DrainRate(0.0)
    drain.note(100)
    asked = {drain.retry_after(10.0, stays=False) for _ in range(1000)}
    assert asked == {drain.retry_after(10.0)} == {1}


def test_the_line_moves_on_and_is_forgotten_when_there_is_room_for_all() -> None:
    drain = DrainRate(0.0)
    drain.note(100)
    for _ in range(50):
        drain.retry_after(10.0)
    drain.note(50)
    assert drain.retry_after(15.0) == 6
    drain.forget_line()
    assert drain.retry_after(15.0) == 1


@rounds(200)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.floats(0.0, 20_000.0)), max_size=20),
    st.integers(0, 3),
)
@example(history=[(1, 16324.426912577552)], ahead=0)
def test_advice_is_a_whole_number_within_bounds_whatever_happened(
    history: list[tuple[int, float]], ahead: int
) -> None:
    drain, now = DrainRate(0.0), 0.0
    for tasks, seconds in history:
        drain.note(tasks)
        now += seconds
        for _ in range(ahead + 1):
            advice = drain.retry_after(now)
            assert isinstance(advice, int)
            assert 1 <= advice <= MAX_RETRY_AFTER_S


def test_three_hours_without_a_start_are_no_reason_to_fail() -> None:
    drain = DrainRate(0.0)
    drain.note(1)
    for hour in range(0, 4 * 3600, 60):
        drain.look(float(hour))
        assert drain.retry_after(float(hour)) <= MAX_RETRY_AFTER_S
