"""Ids of tasks whose clients gave none."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from vera_worker.task_ids import made_at, new_id

#: From 1970 to the year 5138, in seconds since the epoch.
TIMES = st.floats(0.0, 1e11)


@given(TIMES)
def test_they_are_uuids_of_version_7_in_their_usual_form(wall: float) -> None:
    made = new_id(wall)
    parsed = uuid.UUID(made)
    assert (str(parsed), parsed.version, parsed.variant) == (made, 7, uuid.RFC_4122)


@given(TIMES)
def test_they_tell_the_millisecond_in_which_they_were_made(wall: float) -> None:
    assert abs((uuid.UUID(new_id(wall)).int >> 80) - wall * 1000) <= 1.0


@given(TIMES)
def test_when_one_was_made_can_be_read(wall: float) -> None:
    read = made_at(new_id(wall))
    assert read is not None
    assert abs(read - wall) <= 0.001


def test_other_ids_tell_no_time() -> None:
    mine = new_id(1.8e9)
    for other in ("report-7", str(uuid.uuid4()), mine.upper(), f"{mine}0", f" {mine}", mine[:-1]):
        assert made_at(other) is None


def test_those_of_one_moment_differ() -> None:
    assert len({new_id(1.8e9) for _ in range(10_000)}) == 10_000


@given(TIMES, st.floats(1e-3, 1e6))
def test_they_sort_by_the_time_at_which_they_were_made(wall: float, later_s: float) -> None:
    assert new_id(wall) < new_id(wall + later_s)
