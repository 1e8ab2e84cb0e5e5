"""The checker finds each kind of breach, and none in a history that keeps every promise."""

import pytest

from tests.history.checker import Promises, breaches
from tests.history.history import Heard, History, Kept, Ran, Said, Seen

PROMISES = Promises(
    at_most_once=frozenset({"noted_once"}),
    max_attempts=3,
    max_running=2,
    aging_step_s=60.0,
    kills=1,
)


def said(task_id: str, heard: Heard = Heard.ACCEPTED, function: str = "noted") -> Said:
    return Said(task_id, function, heard)


def run(task_id: str, at: float = 0.0, attempt: int = 1, token: str | None = None) -> list[Ran]:
    token = token or f"{task_id}-{attempt}-{at}"
    return [Ran(task_id, attempt, token, end, at + end) for end in (False, True)]


def kept(
    task_id: str,
    attempt: int = 1,
    status: str = "completed",
    at: float = 0.0,
    token: str = "",
    *,
    order: int = 0,
    rank: int = 2,
    queued_at: float = 0.0,
) -> Kept:
    result = {"token": token or f"{task_id}-{attempt}-{at}"} if status == "completed" else None
    return Kept(
        task_id=task_id,
        status=status,
        attempt=attempt,
        result=result,
        cause=None,
        order=order,
        rank=rank,
        queued_at=queued_at,
        started_at=at,
    )


def history(
    said: list[Said],
    ran: list[Ran],
    kept: list[Kept],
    seen: tuple[Seen, ...] = (),
) -> History:
    return History(said, list(seen), ran, kept)


GOOD = history(
    [said("a", Heard.NOTHING), said("a"), said("b"), said("never", Heard.NOTHING), said("c")],
    # The first run of a was cut off by a kill before its start was on disk.
    [run("a")[0], *run("a", at=1.0), *run("b", at=1.0), *run("c", at=2.0, attempt=2)],
    [kept("a", at=1.0), kept("b", at=1.0), kept("c", attempt=2, at=2.0)],
    (Seen("a", "completed", {"token": "a-1-1.0"}),),
)


def test_a_history_that_keeps_every_promise() -> None:
    assert breaches(GOOD, PROMISES) == []


def two_in_turn(first: Kept, second: Kept) -> History:
    """Two tasks of which the first started at 10 and the second at 20."""
    names = (first.task_id, second.task_id)
    runs = [r for name, at in zip(names, (10.0, 20.0), strict=True) for r in run(name, at=at)]
    return history([said(name) for name in names], runs, [first, second])


ONE = [said("a")]
#: By what is broken, and what is then said of it.
BROKEN = {
    ("H1", "accepted and is lost"): history(ONE, [], []),
    ("H2", "was never submitted"): history([], [], [kept("x", status="cancelled")]),
    ("H2", "ran and was never submitted"): history([], run("x"), []),
    ("H3", "kept 2 times"): history(ONE, run("a"), [kept("a"), kept("a")]),
    ("H4", "never ended"): history(ONE, run("a"), [kept("a", status="running")]),
    ("H4", "is gone"): history([], [], [], (Seen("a", "completed", None),)),
    ("H4", "now is completed"): history(
        ONE, run("a"), [kept("a")], (Seen("a", "failed", {"token": "a-1-0.0"}),)
    ),
    ("H5", "at most once and ran 2 times"): history(
        [said("a", function="noted_once")], run("a") + run("a", at=5.0), [kept("a")]
    ),
    ("H5", "that no run of attempt 1 returned"): history(ONE, [], [kept("a")]),
    ("H6", "had ended completed"): history(
        ONE, run("a"), [kept("a")], (Seen("a", "completed", {"token": "another"}),)
    ),
    ("H6", "that no run of attempt 1 returned"): history(ONE, run("a", token="other"), [kept("a")]),
    ("H6", "that no run of attempt 2 returned"): history(
        ONE, run("a"), [kept("a", attempt=2, token="a-1-0.0")]
    ),
    ("H7", "ran 5 times"): history(
        ONE, [r for n in range(5) for r in run("a", at=9.0 * n)], [kept("a")]
    ),
    ("H7", "got to attempt 4"): history(ONE, run("a", attempt=4), [kept("a", attempt=4)]),
    ("H8", "b started before a, which was ahead of it"): two_in_turn(
        kept("b", at=10.0, order=2, queued_at=1.0), kept("a", at=20.0, order=1)
    ),
    ("H8", "low started before high, which was ahead of it"): two_in_turn(
        kept("low", at=10.0, order=1, rank=3), kept("high", at=20.0, order=2, rank=1, queued_at=5.0)
    ),
    ("H8", "late started before old, which was ahead of it"): two_in_turn(
        kept("late", at=200.0, order=2, rank=1, queued_at=190.0), kept("old", at=210.0, order=1)
    ),
    ("H9", "3 tasks ran at once"): history(
        [said(name) for name in "abc"],
        [r for name in "abc" for r in run(name)],
        [kept(name) for name in "abc"],
    ),
    ("H10", "kept 2 times"): history([said("a", Heard.NOTHING)], run("a"), [kept("a"), kept("a")]),
}
IN_ORDER = {
    "first come, first served": two_in_turn(
        kept("a", at=10.0, order=1), kept("b", at=20.0, order=2, queued_at=1.0)
    ),
    "the urgent one came when the other had started": two_in_turn(
        kept("low", at=10.0, order=1, rank=3),
        kept("high", 1, at=20.0, order=2, rank=1, queued_at=11.0),
    ),
    "the urgent one was hardly there": two_in_turn(
        kept("low", at=10.0, order=1, rank=3), kept("high", at=20.0, order=2, rank=1, queued_at=9.0)
    ),
    "the lowly one had waited for long": two_in_turn(
        kept("low", at=190.0, order=1, rank=3),
        kept("high", at=200.0, order=2, rank=1, queued_at=180.0),
    ),
    "what ran twice has two places": two_in_turn(
        kept("b", at=10.0, order=2), kept("a", attempt=2, at=20.0, order=1)
    ),
}


@pytest.mark.parametrize("what", IN_ORDER)
def test_what_starts_in_order_is_no_breach(what: str) -> None:
    found = breaches(IN_ORDER[what], PROMISES)
    assert not [sentence for sentence in found if "ahead" in sentence]


@pytest.mark.parametrize(("check", "breach"), BROKEN)
def test_each_breach_is_named(check: str, breach: str) -> None:
    found = breaches(BROKEN[check, breach], PROMISES)
    assert any(breach in sentence for sentence in found), found
