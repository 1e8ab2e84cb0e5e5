"""When something that recurs is due."""

import ast
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from vera_supervisor import recurrence
from vera_supervisor.recurrence import (
    ON_TIME_S,
    MissedRun,
    Recurrence,
    Turn,
    due_text,
    is_cron,
    is_timezone,
)

#: Whole and half hours, midnight, and a day that was left out altogether.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut")
ZONES += ("Pacific/Apia", "Asia/Kathmandu")
FIRST, LAST = 1_262_304_000, 1_830_297_600  # the years 2010 to 2027


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def shown(moments: list[int], zone: str) -> list[str]:
    return [datetime.fromtimestamp(m, ZoneInfo(zone)).strftime("%d %H:%M %z") for m in moments]


def following(cron: str, zone: str, start: str, count: int) -> list[str]:
    """Return the first due times after `start`, as the clock on the wall shows them."""
    known, moments = Recurrence(cron, zone), [at(start)]
    for _ in range(count):
        due = known.next_after(moments[-1])
        assert due is not None
        moments.append(due)
    return shown(moments[1:], zone)


def test_a_due_time_is_strictly_after_the_moment_and_may_be_at_its_end() -> None:
    daily = Recurrence("0 3 * * *", "UTC")
    due = at("2026-01-02T03:00Z")
    assert daily.next_after(due - 86400) == due
    assert daily.next_after(due - 0.001) == due
    assert daily.last_until(due) == due
    assert daily.last_until(due - 0.001) == due - 86400


def test_a_zone_is_what_the_clock_on_its_wall_shows() -> None:
    berlin = Recurrence("0 9 * * MON-FRI", "Europe/Berlin")
    friday = at("2026-01-02T09:00+01:00")
    assert berlin.next_after(friday) == at("2026-01-05T09:00+01:00")
    assert berlin.next_after(at("2026-07-01T12:00Z")) == at("2026-07-02T09:00+02:00")


def test_a_time_of_day_that_is_left_out_is_due_when_the_clock_has_been_put_forward() -> None:
    assert following("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", 3) == [
        "28 02:30 +0100",
        "29 03:00 +0200",
        "30 02:30 +0200",
    ]


def test_a_time_of_day_that_comes_twice_is_due_the_first_time() -> None:
    assert following("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2) == [
        "25 02:30 +0200",
        "26 02:30 +0100",
    ]
    between = at("2026-10-25T02:10+01:00")
    assert Recurrence("30 2 * * *", "Europe/Berlin").last_until(between) == at(
        "2026-10-25T02:30+02:00"
    )


def test_a_rhythm_follows_the_clock_through_both_changes() -> None:
    assert following("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:30+01:00", 3) == [
        "29 03:00 +0200",
        "29 03:30 +0200",
        "29 04:00 +0200",
    ]
    assert following("*/30 * * * *", "Europe/Berlin", "2026-10-25T02:00+02:00", 5) == [
        "25 02:30 +0200",
        "25 02:00 +0100",
        "25 02:30 +0100",
        "25 03:00 +0100",
        "25 03:30 +0100",
    ]


def test_an_hour_that_is_left_out_has_no_rhythm() -> None:
    assert following("7 * * * *", "Europe/Berlin", "2026-03-29T01:00+01:00", 2) == [
        "29 01:07 +0100",
        "29 03:07 +0200",
    ]


def test_looking_back_into_an_hour_that_comes_twice_finds_its_second_time() -> None:
    quarters = Recurrence("*/15 * * * *", "Europe/Berlin")
    assert quarters.last_until(at("2026-10-25T02:35+01:00")) == at("2026-10-25T02:30+01:00")


def test_a_clock_that_is_put_forward_by_half_an_hour_moves_no_rhythm() -> None:
    assert following("*/20 */6 * * *", "Australia/Lord_Howe", "2026-10-03T15:00Z", 4) == [
        "04 06:00 +1100",
        "04 06:20 +1100",
        "04 06:40 +1100",
        "04 12:00 +1100",
    ]


def test_a_day_that_was_left_out_is_made_good_at_its_end() -> None:
    assert following("0 8 * * *", "Pacific/Apia", "2011-12-29T08:00-10:00", 2) == [
        "31 00:00 +1400",
        "31 08:00 +1400",
    ]


def test_leap_days_are_found_years_ahead() -> None:
    assert Recurrence("0 0 29 2 *", "UTC").next_after(at("2024-03-01T00:00Z")) == at(
        "2028-02-29T00:00Z"
    )


MINUTES = st.sampled_from(["*", "*/7", "*/30", "0", "30", "5,45", "10-20/5"])
HOURS = st.sampled_from(["*", "*/5", "0", "2", "1-3", "23", "2,3"])
DAYS = st.sampled_from(["* * *", "* * SUN", "25-31 3,10 *", "1 * *", "L * *"])
CRONS = st.tuples(MINUTES, HOURS, DAYS).map(" ".join)


def near_changes(zone: str) -> list[int]:
    """Return the moments at which the clock of a zone is changed, to the hour."""
    hours = range(FIRST, LAST, 6 * 3600)
    offsets = [datetime.fromtimestamp(hour, ZoneInfo(zone)).utcoffset() for hour in hours]
    return [h for h, a, b in zip(hours, offsets, offsets[1:], strict=False) if a != b]


CHANGES = {zone: near_changes(zone) or [FIRST] for zone in ZONES}


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int]:
    """Return a zone and a moment, often near to where its clock is changed."""
    zone = draw(st.sampled_from(ZONES))
    change = st.tuples(st.sampled_from(CHANGES[zone]), st.integers(-86400, 86400)).map(sum)
    return zone, draw(st.integers(FIRST, LAST) | change)


def by_brute_force(cron: str, zone: str, start: int, end: int) -> set[int]:
    """Return all due times in (start, end] by asking each minute what the clock shows.

    What the clock shows is matched in UTC, where it is never changed.
    """
    matching = minutes_of(cron, start - 4 * 86400, end + 2 * 86400)
    fixed = not any(field.startswith("*") for field in cron.split()[:2])
    due, passed = set(), set()
    first = start - 2 * 86400
    before = on_the_wall(first - 60, zone)
    for moment in range(first - first % 60, end + 1, 60):
        now = on_the_wall(moment, zone)
        left_out = range(before + 60, now, 60) if fixed else ()
        for minute in (*left_out, now):
            if minute in matching and not (fixed and minute in passed):
                due.add(moment)
            passed.add(minute)
        before = now
    return {moment for moment in due if start < moment <= end}


def minutes_of(cron: str, start: int, end: int) -> set[int]:
    """Return the minutes that match on a clock that is never changed."""
    due_times = CronSim(cron, datetime.fromtimestamp(start, UTC))
    moments = (int(due.timestamp()) for due in due_times)
    return set(takewhile(lambda moment: moment <= end, moments))


def on_the_wall(moment: int, zone: str) -> int:
    """Return what the clock shows, to the minute, as seconds since its own epoch."""
    local = datetime.fromtimestamp(moment - moment % 60, ZoneInfo(zone))
    return int(local.replace(tzinfo=UTC).timestamp())


@rounds(12)
@given(CRONS, places())
def test_due_times_are_those_of_the_clock_on_the_wall(cron: str, place: tuple[str, int]) -> None:
    zone, start = place
    known, end = Recurrence(cron, zone), start + 5 * 3600
    found, moment = set(), known.next_after(start)
    while moment is not None and moment <= end:
        found.add(moment)
        moment = known.next_after(moment)
    assert found == by_brute_force(cron, zone, start, end)


@rounds(150)
@given(CRONS, places())
def test_looking_ahead_and_looking_back_agree(cron: str, place: tuple[str, int]) -> None:
    zone, moment = place
    known = Recurrence(cron, zone)
    following, last = known.next_after(moment), known.last_until(moment)
    assert following is not None
    assert last is not None
    assert last <= moment < following
    assert known.last_until(following) == following
    assert known.last_until(following - 1) == last
    assert known.next_after(last) == following


@rounds(150)
@given(CRONS, places(), st.lists(st.floats(0.0, 200_000.0), max_size=6), st.sampled_from(MissedRun))
def test_each_due_time_is_dealt_with_once_at_most(
    cron: str, place: tuple[str, int], pauses: list[float], missed: MissedRun
) -> None:
    zone, start = place
    known, since, now = Recurrence(cron, zone), float(start), float(start)
    dealt: list[int] = []
    for pause in pauses:
        now += pause
        turn = known.turn(since, now, missed)
        assert turn.run is None or turn.missed is None
        due = turn.missed if turn.run is None else turn.run
        if due is None:
            assert (known.next_after(since) or now + 1) > now
            continue
        assert since < due <= now
        assert turn.run is not None or (missed is MissedRun.SKIP and now - due > ON_TIME_S)
        dealt.append(due)
        since = due
    assert len(dealt) == len(set(dealt))


def test_of_many_missed_runs_the_last_is_made_good_or_none() -> None:
    hourly, since = Recurrence("0 * * * *", "UTC"), at("2026-01-01T00:30Z")
    now, last = at("2026-01-01T09:20Z"), at("2026-01-01T09:00Z")
    assert hourly.turn(since, now, MissedRun.RUN_ONCE) == Turn(run=last)
    assert hourly.turn(since, now, MissedRun.SKIP) == Turn(missed=last)
    assert hourly.turn(since, last + ON_TIME_S, MissedRun.SKIP) == Turn(run=last)
    assert hourly.turn(last, now, MissedRun.RUN_ONCE) == Turn()


@pytest.mark.parametrize(
    "text",
    ["* * * * *", "*/5 0-6 L * *", "0 0 29 2 *", "0 0 * 2 MON#5", "0 9 * JAN-MAR mon,FRI"],
)
def test_what_is_due_at_some_time_is_a_cron_expression(text: str) -> None:
    assert is_cron(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@daily", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "0 0 31 4,6 *"),
        *("0 0 */31 2 MON#2", "*/0 * * * *", "5-1 * * * *", f"{'9' * 5000} * * * *", "? ? * * *"),
    ],
)
def test_what_is_never_due_or_cannot_be_read_is_none(text: str) -> None:
    assert not is_cron(text)


@rounds(300)
@given(st.text(st.sampled_from("0123456789*/,-#LWMONFEB ²"), max_size=20) | st.text(max_size=20))
def test_any_text_is_judged(text: str) -> None:
    assert is_cron(text) in {True, False}
    assert is_timezone(text) in {True, False}


def test_a_zone_is_known_by_its_name_only() -> None:
    assert is_timezone("Europe/Berlin")
    for name in ("Europe", "Mars/Base", "", "../etc/passwd", "/etc/passwd", "x\0y"):
        assert not is_timezone(name)


def test_a_due_time_is_written_so_that_it_can_stand_in_an_id() -> None:
    due = datetime(2026, 11, 24, 3, tzinfo=UTC) + timedelta(seconds=7)
    assert due_text(int(due.timestamp())) == "20261124T030007Z"


def test_no_clock_is_read() -> None:
    tree = ast.parse(Path(recurrence.__file__).read_text())
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert called.isdisjoint({"now", "utcnow", "today", "time"})
