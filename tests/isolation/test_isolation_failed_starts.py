"""Executors that could not be started, as while the fork server dies: one trouble (P9)."""

from vera_supervisor.roster import FIRST_START_DELAY_S, Roster, Size
from vera_supervisor.slot import Limits

SIZE = Size(min_workers=9, max_workers=9, idle_timeout_s=60.0)
LIMITS = Limits(start_timeout_s=30.0, check_interval_s=30.0, kill_grace_s=3.0)


def _volley_fails(roster: Roster, now: float) -> None:
    assert len(roster.grow(0, now)) == SIZE.min_workers
    for slot in list(roster):
        roster.lost(slot, now)


def test_starts_that_fail_together_put_off_the_next_one_once() -> None:
    roster = Roster(SIZE, LIMITS)
    _volley_fails(roster, 100.0)
    assert roster.failed_starts == SIZE.min_workers
    assert roster.grow(0, 100.0 + FIRST_START_DELAY_S / 2) == []
    assert len(roster.grow(0, 100.0 + FIRST_START_DELAY_S)) == SIZE.min_workers


def test_starts_that_fail_again_and_again_put_it_off_ever_longer() -> None:
    roster, now = Roster(SIZE, LIMITS), 100.0
    for volley in range(5):
        _volley_fails(roster, now)
        delay = FIRST_START_DELAY_S * 2.0**volley
        assert roster.grow(0, now + delay * 0.9) == []
        now += delay * 1.1
