"""What a value may look like: each kind of value accepts what a person writes, or names itself."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, Generic, TypeVar

from vera_supervisor.config.units import parse_number, parse_seconds, parse_size, size_text

T_co = TypeVar("T_co", covariant=True)
Word = TypeVar("Word", bound=StrEnum)

#: A hundred years: longer durations are mistakes, and some clocks cannot add them.
MAX_SECONDS: Final = 100 * 365 * 86400
#: What a signed 64-bit integer holds: neither a file nor a database counts further.
MAX_BYTES: Final = 2**63 - 1


class UnfitError(ValueError):
    """A value is not of the wanted kind; `found` is the value, or the item of a list, at fault."""

    def __init__(self, found: object) -> None:
        # Not passed on to ValueError, which would repeat a secret in its text.
        super().__init__("the value does not fit")
        self.found = found


class Kind(ABC, Generic[T_co]):
    """One kind of value."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """What the value must be, to stand behind the word "expected"."""

    @abstractmethod
    def read(self, value: object) -> T_co:
        """Return the typed value of a value from TOML; raise UnfitError if there is none."""

    def from_text(self, text: str) -> object:
        """Return what TOML would have held for a value that came as text."""
        return text

    def to_toml(self, value: object) -> object:
        """Return a typed value as a person would write it in TOML."""
        return value


@dataclass(frozen=True)
class Flag(Kind[bool]):
    """Yes or no."""

    @property
    def expected(self) -> str:
        return "true or false"

    def read(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise UnfitError(value)

    def from_text(self, text: str) -> object:
        return {"true": True, "false": False}.get(text.casefold(), text)


@dataclass(frozen=True)
class Integer(Kind[int]):
    """A whole number of a range."""

    low: int
    high: int = 1_000_000_000

    @property
    def expected(self) -> str:
        return f"an integer from {self.low} to {self.high}"

    def read(self, value: object) -> int:
        if isinstance(value, int) and type(value) is not bool and self.low <= value <= self.high:
            return value
        raise UnfitError(value)

    def from_text(self, text: str) -> object:
        number = parse_number(text)
        return number if isinstance(number, int) else text


@dataclass(frozen=True)
class Amount(Kind[float]):
    """A share of something; with 0 of it nothing could ever start."""

    most: float

    @property
    def expected(self) -> str:
        return f"a number above 0, at most {self.most:g}"

    def read(self, value: object) -> float:
        if isinstance(value, int | float) and type(value) is not bool and 0 < value <= self.most:
            return float(value)
        raise UnfitError(value)

    def from_text(self, text: str) -> object:
        number = parse_number(text)
        return text if number is None else number

    def to_toml(self, value: object) -> object:
        return _without_empty_fraction(value)


@dataclass(frozen=True)
class Seconds(Kind[float]):
    """A duration; `positive` where none at all makes no sense."""

    positive: bool = False

    @property
    def expected(self) -> str:
        bound = "above 0" if self.positive else "0 or more"
        return f'a number of seconds, {bound}, or a text such as "30s", "5m" or "2h"'

    def read(self, value: object) -> float:
        seconds = parse_seconds(value) if isinstance(value, str) else value
        if not isinstance(seconds, int | float) or type(seconds) is bool:
            raise UnfitError(value)
        # Written so that NaN, which compares false to everything, is refused as well.
        if not (0 <= seconds <= MAX_SECONDS) or (self.positive and not seconds):
            raise UnfitError(value)
        return float(seconds)

    def to_toml(self, value: object) -> object:
        return _without_empty_fraction(value)


@dataclass(frozen=True)
class Size(Kind[int]):
    """A count of bytes."""

    low: int = 1

    @property
    def expected(self) -> str:
        return f'a size of at least {size_text(self.low)}, in bytes or as "64KiB", "512MiB", "1GB"'

    def read(self, value: object) -> int:
        size = parse_size(value) if isinstance(value, str) else value
        if isinstance(size, int) and type(size) is not bool and self.low <= size <= MAX_BYTES:
            return size
        raise UnfitError(value)

    def to_toml(self, value: object) -> object:
        return size_text(value) if isinstance(value, int) else value


@dataclass(frozen=True)
class Choice(Kind[Word]):
    """One word of a few, in any case."""

    words: type[Word]

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(self.words)

    def read(self, value: object) -> Word:
        for word in self.words:
            if isinstance(value, str) and word.casefold() == value.casefold():
                return word
        raise UnfitError(value)

    def to_toml(self, value: object) -> object:
        return str(value)


@dataclass(frozen=True)
class Text(Kind[str]):
    """A text that passes a test."""

    what: str
    fits: Callable[[str], bool]

    @property
    def expected(self) -> str:
        return self.what

    def read(self, value: object) -> str:
        if isinstance(value, str) and self.fits(value):
            return value
        raise UnfitError(value)


@dataclass(frozen=True)
class Each(Kind[tuple[T_co, ...]]):
    """A list, each item of one kind; as text, its items stand between commas."""

    item: Kind[T_co]

    @property
    def expected(self) -> str:
        return f"a list, each item {self.item.expected}"

    def read(self, value: object) -> tuple[T_co, ...]:
        if not isinstance(value, list | tuple):
            raise UnfitError(value)
        return tuple(self.item.read(item) for item in value)

    def from_text(self, text: str) -> object:
        return [self.item.from_text(item.strip()) for item in text.split(",") if item.strip()]

    def to_toml(self, value: object) -> object:
        return [self.item.to_toml(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Tiers(Each[int]):
    """A list of numbers, each higher than the one before."""

    @property
    def expected(self) -> str:
        return f"{super().expected}, each above the one before"

    def read(self, value: object) -> tuple[int, ...]:
        tiers = super().read(value)
        for lower, higher in pairwise(tiers):
            if higher <= lower:
                raise UnfitError(value)
        return tiers


def _without_empty_fraction(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
