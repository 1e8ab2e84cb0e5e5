"""What can be wrong with a configuration, said in one line each and all at once."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from vera_worker.errors import VeraError

_LONGEST_QUOTE: Final = 60
_LONGEST_NAME: Final = 64
# Python itself refuses to write integers of thousands of digits.
_HUGE: Final = 10**18
#: How alike two names must be for one to be offered in place of the other.
_ALIKE: Final = 0.6
_NOUNS: Final = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a text (not shown)",
    list: "a list",
    tuple: "a list",
    dict: "a table",
}
# Up to the last "@", for a password may hold one.
_PASSWORD_IN_URL: Final = re.compile(r"(?<=://).*@", re.DOTALL)
_BARE_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing to repair: where it stands, which key it is about, and what was expected."""

    #: The file, the environment variable or the flag that is at fault.
    source: str
    line: int | None = None
    #: The dotted key; None where the file as a whole is at fault.
    key: str | None = None
    message: str
    #: The known name that was probably meant.
    nearest: str | None = None

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return one_line(f'{text}; did you mean "{self.nearest}"?' if self.nearest else text)


class ConfigError(VeraError):
    """The configuration cannot be used; `faults` says everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(map(str, self.faults)))


def dotted(path: Iterable[str]) -> str:
    """Return the path of a key as TOML writes it, quoting a name only where it must be."""
    return ".".join(
        name if _BARE_NAME.fullmatch(name) else json.dumps(name, ensure_ascii=False)
        for name in path
    )


def one_line(text: str) -> str:
    """Return `text` with everything escaped that could break a line or steer a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def quoted(value: object, *, secret: bool = False) -> str:
    """Return a value as it may be repeated to a person: short, and nothing of a secret."""
    if secret or isinstance(value, dict | list | tuple):
        return _NOUNS.get(type(value), "a date or time")
    if isinstance(value, str):
        text = _PASSWORD_IN_URL.sub("***@", value)
        cut = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
        return json.dumps(cut, ensure_ascii=False)
    if isinstance(value, int) and abs(value) > _HUGE:
        return "a huge number"
    return str(value).lower()


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known dotted name whose last part is most like that of `name`, if any is."""
    section, _, leaf = name.rpartition(".")

    def likeness(candidate: str) -> tuple[float, bool]:
        its_section, _, its_leaf = candidate.rpartition(".")
        alike = SequenceMatcher(None, leaf[:_LONGEST_NAME], its_leaf).ratio()
        return alike, its_section == section

    best = max(known, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] >= _ALIKE else None
