"""Who follows a task sees what it prints once, and is told what was too much to be kept."""

from hypothesis import given
from hypothesis import strategies as st

from vera_supervisor.api.follower import Follower
from vera_supervisor.pool.output import left_out, split

MOST = 50


def peeked(printed: bytes) -> bytes:
    """Return what is shown of an output of which MOST bytes are kept."""
    return left_out(max(0, len(printed) - MOST)) + printed[-MOST:]


@given(st.lists(st.lists(st.binary(max_size=80).map(bytes.hex), max_size=8), max_size=3))
def test_all_of_every_attempt_is_seen_once_or_said_to_be_missing(attempts: list[list[str]]) -> None:
    follower = Follower()
    for attempt, pieces in enumerate(attempts, 1):
        printed, told = b"", 0
        for piece in pieces:
            printed += piece.encode()
            missed, news = split(follower.news(attempt, peeked(printed)))
            assert told + missed + len(news) == len(printed)
            assert printed.endswith(news)
            assert not missed or len(news) == MOST
            told = len(printed)
            assert follower.news(attempt, peeked(printed)) == b""


def test_a_second_attempt_is_followed_from_its_start() -> None:
    follower = Follower()
    assert follower.news(1, b"a long first attempt\n") == b"a long first attempt\n"
    assert follower.news(2, b"") == b""
    assert follower.news(2, b"short\n") == b"short\n"


def test_more_than_is_kept_is_followed_to_its_end() -> None:
    follower = Follower()
    assert follower.news(1, peeked(b"x" * MOST)) == b"x" * MOST
    assert follower.news(1, peeked(b"x" * MOST + b"yz")) == b"yz"
    assert follower.news(1, peeked(b"x" * 200)) == left_out(148 - MOST) + b"x" * MOST
