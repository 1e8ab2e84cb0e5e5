"""The misbehaving functions do what they say, and no more."""

import pytest

from tests.executor.harness import Child
from vera_worker.wire import Returned


def test_a_balloon_fills_every_process_and_is_let_go(child: Child) -> None:
    assert child.call("balloon", 2) == 2
    assert child.call("balloon", 2, children=3) == 8
    assert child.call("balloon_tree", 1, depth=2, width=2) == 7


def test_a_balloon_takes_the_memory_that_it_says(child: Child) -> None:
    before = child.peak_kib()
    answer = child.run("balloon", 64, hold_s=0.05)
    assert isinstance(answer, Returned)
    assert answer.used is not None
    assert answer.used.peak_bytes / 1024 - before > 60 * 1024


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("balloon", {"megabytes": 10**9}),
        ("balloon", {"megabytes": 0, "children": 10_000}),
        ("spawn_tree", {"depth": 9}),
        ("spawn_tree", {"width": 9}),
    ],
)
def test_what_would_hurt_the_machine_is_refused(
    child: Child, function: str, arguments: dict[str, int]
) -> None:
    assert child.failure(function, **arguments).exception == "ValueError"


def test_a_fork_bomb_has_a_limit(child: Child) -> None:
    """The last processes to come find no token left, sleep, and are still there to be counted."""
    child.assign("fork_bomb", 5)
    child.await_descendants(5)


def test_who_ignores_the_wish_to_stop_returns_late(child: Child) -> None:
    assert child.call("return_late", 0) == "late"


def test_a_flood_of_any_size_is_bounded_by_what_is_asked(child: Child) -> None:
    child.call("flood_stdout", 0)
    assert child.printed() == ""
