"""Lines out of pieces: however the bytes are cut, the lines are the same."""

from hypothesis import given
from hypothesis import strategies as st

from vera_supervisor.api.lines import Line, Splitter

LIMIT = 5
PIECES = st.lists(st.sampled_from([b"1", b"ab", b"\n", b"\r\n", b" ", b"\n\n", b"12345", b"x\ny"]))


def split(pieces: list[bytes]) -> list[Line]:
    splitter = Splitter(LIMIT)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.end()


@given(PIECES)
def test_how_the_bytes_are_cut_does_not_matter(pieces: list[bytes]) -> None:
    texts = b"".join(pieces).split(b"\n")
    expected = [
        Line(number, text if len(text) <= LIMIT else None)
        for number, text in enumerate(texts, 1)
        if len(text) > LIMIT or text.strip()
    ]
    assert split(pieces) == expected


@given(PIECES)
def test_no_more_than_one_line_is_kept(pieces: list[bytes]) -> None:
    splitter = Splitter(LIMIT)
    for piece in pieces:
        splitter.feed(piece)
        assert len(splitter._begun) <= LIMIT


def test_a_line_that_is_too_long_costs_only_itself() -> None:
    assert split([b"1\n", b"x" * 100, b"y" * 100, b"\n2\n", b"123456"]) == [
        Line(1, b"1"),
        Line(2, None),
        Line(3, b"2"),
        Line(4, None),
    ]
