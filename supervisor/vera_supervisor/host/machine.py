"""The kernel's files on this machine, or a copy of them in a test."""

import os
from collections.abc import Iterator

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """Files below `root`. What is missing, unreadable or not as expected reads as None."""

    #: Put before every absolute file name.
    root: str = ""

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return os.path.exists(self.root + name)

    def text(self, name: str) -> str | None:
        """Return what a file says, without white space around it."""
        try:
            with open(self.root + name, encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return None

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file; none where there is no file."""
        return (self.text(name) or "").splitlines()

    def number(self, name: str) -> int | None:
        """Return the one number that a file holds; "max" and the like are None."""
        text = self.text(name)
        return int(text) if text is not None and text.lstrip("-").isdecimal() else None

    def fields(self, name: str) -> dict[str, int]:
        """Return the numbers of a file of lines like "name 123" or "name: 123 kB"."""
        return dict(_fields(self.lines(name)))


def _fields(lines: list[str]) -> Iterator[tuple[str, int]]:
    for line in lines:
        name, *values = line.split() or [""]
        if values and values[0].isdecimal():
            yield name.rstrip(":"), int(values[0])
