"""The table of states: closed, and with ends that nothing leaves."""

import pytest

from vera_worker.errors import IllegalMove
from vera_worker.lifecycle import MOVES, TERMINAL, Move, Status, after
from vera_worker.tasks import RANK, Cause, Priority, Record, Task


def test_the_table_speaks_of_every_status_and_leads_to_no_other() -> None:
    assert set(MOVES) == set(Status)
    assert {target for moves in MOVES.values() for target in moves.values()} <= set(Status)


def test_the_ends_are_the_three_that_the_contract_names() -> None:
    assert set(TERMINAL) == {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("move", Move)
def test_a_move_leads_where_the_table_says_or_is_refused(status: Status, move: Move) -> None:
    if move in MOVES[status]:
        assert after(status, move) is MOVES[status][move]
    else:
        with pytest.raises(IllegalMove, match=f"a {status} task cannot {move}"):
            after(status, move)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_nothing_leaves_an_end(status: Status) -> None:
    assert MOVES[status] == {}


def test_every_status_can_be_reached_and_every_task_can_end() -> None:
    def reachable(start: Status) -> set[Status]:
        found = {start}
        queue = [start]
        for status in queue:
            new = set(MOVES[status].values()) - found
            found |= new
            queue += new
        return found

    assert reachable(Status.QUEUED) == set(Status)
    assert all(reachable(status) & TERMINAL for status in Status)


def test_only_a_running_task_completes() -> None:
    assert [status for status in Status if Move.COMPLETE in MOVES[status]] == [Status.RUNNING]


def test_a_record_has_ended_when_its_status_is_an_end() -> None:
    task = Task(
        task_id="a",
        function="noop",
        payload=b"{}",
        priority=Priority.NORMAL,
        timeout_s=1.0,
        queued_at=0.0,
    )
    assert {status for status in Status if Record(task=task, status=status).ended} == TERMINAL


def test_the_words_are_those_of_the_contract() -> None:
    assert list(Status) == ["queued", "running", "completed", "failed", "cancelled"]
    assert sorted(RANK, key=RANK.__getitem__) == ["critical", "high", "normal", "low"]
    assert set(Cause) == {
        "exception",
        "timeout",
        "crashed",
        "memory",
        "cancelled",
        "expired",
        "unserialisable_result",
        "worker_lost",
        "interrupted",
    }
