"""The mutants: one small fault each, put into the code on purpose, and the tests that must see it.

They stand in the `*.toml` files beside this one, as `[[mutant]]` tables with

    check     what is promised, by its name in the checks (D1, H3, ...) or in a word
    fault     what the mutant does wrong, in a sentence
    file      where, and
    old, new  the text there that it replaces (it must occur exactly once), and by what
    tests     pytest's names of the tests; at least one of them must fail
"""

import tomllib
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parents[2]


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault and who must find it."""

    check: str
    fault: str
    file: str
    old: str
    new: str
    tests: list[str]

    def __str__(self) -> str:
        return f"{self.check}: {self.fault}"

    def has_one_of(self, words: list[str]) -> bool:
        """Return whether its check is one of `words`, or its fault or file contains one."""
        return any(w == self.check or w in self.fault or w in self.file for w in words)

    def applied_to(self, source: str) -> str:
        """Return a source with this fault in it; raise ValueError where it does not fit."""
        if source.count(self.old) != 1 or self.old == self.new:
            raise ValueError(f"{self}: its text occurs {source.count(self.old)} times, not once")
        return source.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """Return all of them, file by file."""
    found: list[Mutant] = []
    for file in sorted(Path(__file__).parent.glob("*.toml")):
        found += msgspec.convert(tomllib.loads(file.read_text())["mutant"], list[Mutant])
    return found
