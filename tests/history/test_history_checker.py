"""The checker finds each kind of breach, and none in a history that keeps every promise."""

import pytest

from tests.history.checker import Promises, breaches
from tests.history.history import Heard, History, Kept, Ran, Said, Seen

PROMISES = Promises(at_most_once=frozenset({"noted_once"}), max_attempts=3, max_running=2, kills=1)


def said(task_id: str, heard: Heard = Heard.ACCEPTED, function: str = "noted") -> Said:
    return Said(task_id, function, heard)


def run(task_id: str, at: float = 0.0, attempt: int = 1, token: str | None = None) -> list[Ran]:
    token = token or f"{task_id}-{attempt}-{at}"
    return [Ran(task_id, attempt, token, end, at + end) for end in (False, True)]


def kept(
    task_id: str, attempt: int = 1, status: str = "completed", at: float = 0.0, token: str = ""
) -> Kept:
    result = {"token": token or f"{task_id}-{attempt}-{at}"} if status == "completed" else None
    return Kept(task_id, status, attempt, result, None)


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


ONE = [said("a")]
BROKEN = {
    "accepted and is lost": history(ONE, [], []),
    "was never submitted": history([], run("x"), [kept("x")]),
    "kept 2 times": history(ONE, run("a"), [kept("a"), kept("a")]),
    "never ended": history(ONE, run("a"), [kept("a", status="running")]),
    "is gone": history([], [], [], (Seen("a", "completed", None),)),
    "now is completed": history(ONE, run("a"), [kept("a")], (Seen("a", "failed", None),)),
    "had ended completed": history(
        ONE, run("a"), [kept("a")], (Seen("a", "completed", {"token": "another"}),)
    ),
    "at most once and ran 2 times": history(
        [said("a", function="noted_once")], run("a") + run("a", at=5.0), [kept("a")]
    ),
    "ran 5 times": history(ONE, [r for n in range(5) for r in run("a", at=9.0 * n)], [kept("a")]),
    "got to attempt 4": history(ONE, run("a", attempt=4), [kept("a", attempt=4)]),
    "that no run of attempt 1 returned": history(ONE, run("a", token="other"), [kept("a")]),
    "that no run of attempt 2 returned": history(
        ONE, run("a"), [kept("a", attempt=2, token="a-1-0.0")]
    ),
    "3 tasks ran at once": history(
        [said(name) for name in "abc"],
        [r for name in "abc" for r in run(name)],
        [kept(name) for name in "abc"],
    ),
}


@pytest.mark.parametrize("breach", BROKEN)
def test_each_breach_is_named(breach: str) -> None:
    found = breaches(BROKEN[breach], PROMISES)
    assert any(breach in sentence for sentence in found), found
