"""Sizes and durations: what people write, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vera_supervisor.config.units import parse_number, parse_seconds, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 2**20),
        ("7B", 7),
        ("64KiB", 64 * 1024),
        ("512MiB", 512 * 2**20),
        ("512 mib", 512 * 2**20),
        ("1GB", 10**9),
        ("1.5GiB", 3 * 2**29),
        ("2TiB", 2**41),
        ("0.3B", 0),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        ("30s", 30),
        ("1.5m", 90),
        ("2h", 7200),
        ("7d", 604800),
        ("250ms", 0.25),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-1",
        "+1",
        "1e3",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "1,5",
        ".5",
        "5.",
        "٣",
        "5 parsecs",
        "MiB",
        "1MiB2",
        "1MiB\n",
        "1  MiB",
        "9" * 5000,
    ],
)
def test_anything_else_is_neither(text: str) -> None:
    assert parse_size(text) is None
    assert parse_seconds(text) is None
    assert parse_number(text) is None


def test_a_unit_of_the_other_kind_is_refused() -> None:
    assert parse_size("5m") is None
    assert parse_seconds("5MiB") is None


def test_units_of_time_have_one_case() -> None:
    assert parse_seconds("5M") is None


@given(st.integers(0, 2**63 - 1))
def test_a_written_size_is_read_back(size: int) -> None:
    if len(str(size)) <= 18:
        assert parse_size(size_text(size)) == size


@given(st.integers(0, 10**6), st.sampled_from(["KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB"]))
def test_the_shortest_way_to_write_a_size_is_no_longer_than_the_one_given(
    n: int, unit: str
) -> None:
    text = f"{n}{unit}"
    size = parse_size(text)
    assert size is not None
    assert parse_size(size_text(size)) == size
    assert len(size_text(size)) <= len(text)


@given(st.text(max_size=30))
def test_no_text_makes_the_parsers_stumble(text: str) -> None:
    size, seconds = parse_size(text), parse_seconds(text)
    assert size is None or size >= 0
    assert seconds is None or 0 <= seconds < float("inf")
