"""Sizes and durations as people write them: "512MiB", "1GB", "30s", "5m"."""

import re
from fractions import Fraction
from typing import Final

_BINARY: Final = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10}
_DECIMAL: Final = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1}
_BYTES_OF: Final = {unit.lower(): size for unit, size in (_BINARY | _DECIMAL).items()} | {"": 1}
_SECONDS_OF: Final = {
    "": Fraction(1),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}

# The count of digits is bounded, so that no text, however long, costs time or overflows.
_NUMBER: Final = re.compile(r"\d{1,18}(?:\.\d{1,18})?", re.ASCII)
_QUANTITY: Final = re.compile(rf"({_NUMBER.pattern})[ ]?([A-Za-z]*)", re.ASCII)


def parse_number(text: str) -> int | float | None:
    """Return a plain decimal number without sign or exponent, or None if `text` is none."""
    if not _NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


def parse_size(text: str) -> int | None:
    """Return whole bytes, rounded down, or None if `text` is no size; case does not matter."""
    match = _QUANTITY.fullmatch(text)
    factor = _BYTES_OF.get(match[2].lower()) if match else None
    return int(Fraction(match[1]) * factor) if match and factor else None


def parse_seconds(text: str) -> float | None:
    """Return seconds, or None if `text` is no duration; a bare number is seconds."""
    match = _QUANTITY.fullmatch(text)
    factor = _SECONDS_OF.get(match[2]) if match else None
    return float(Fraction(match[1]) * factor) if match and factor else None


def size_text(size_bytes: int) -> str:
    """Return the shortest exact way to write a size, which `parse_size` reads back."""
    return min(
        (
            f"{size_bytes // factor}{unit}"
            for unit, factor in (_BINARY | _DECIMAL).items()
            if size_bytes % factor == 0
        ),
        key=len,
    )
