"""Reads the user guide: its blocks of code, and what each of them is for.

    ```bash            run by a shell, with a worker at localhost:5000
    ```bash fails      the same, but its last command fails
    ```bash serve      a worker in the foreground a line; they run until the section is over
    ```bash docker     run where there is a Docker engine; likewise `systemd` and `checkout`
    ```python          a program
    ```toml            a piece of configuration, which must be without fault
    ```text            what the block before it prints; … stands for anything

A block whose first line is `# NAME.EXT` is that file. A line `*Not run by the tests: …*` before a
block says why it is not run.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

GUIDE: Final = Path(__file__).parents[2] / "docs" / "USER_GUIDE.md"
#: Where a block is run, if not here: it is run by the tests that need such a place.
PLACES: Final = frozenset({"checkout", "docker", "systemd"})
_FENCE: Final = re.compile(r"```(?P<language>[a-z]*)(?: (?P<word>[a-z]+))?")
_FILE: Final = re.compile(r"# ([\w./-]+\.\w+)\n")
_REASON: Final = re.compile(r"\*Not run by the tests: (.+)\*")


class Block(NamedTuple):
    """One block of code."""

    section: str
    #: Where it begins in the guide.
    line: int
    language: str
    #: `fails`, `serve`, one of PLACES, or nothing.
    word: str
    code: str
    #: What it prints, if that is said.
    expected: str | None
    #: Why it is not run, if it is not.
    reason: str | None

    def __str__(self) -> str:
        return f"USER_GUIDE.md:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it is to be written to, if it is one."""
        named = _FILE.match(self.code)
        return named[1] if named else None


def blocks(text: str) -> list[Block]:
    """Return all blocks of a guide, in order."""
    found: list[Block] = []
    for block in _blocks(text):
        if block.language == "text" and found and found[-1].section == block.section:
            found[-1] = found[-1]._replace(expected=block.code)
        else:
            found.append(block)
    return found


def _blocks(text: str) -> Iterator[Block]:
    section, before = "", ""
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif fence := _FENCE.fullmatch(line):
            code = []
            for _, inner in lines:
                if inner == "```":
                    break
                code.append(inner + "\n")
            reason = _REASON.fullmatch(before)
            yield Block(
                section,
                number,
                fence["language"],
                fence["word"] or "",
                "".join(code),
                None,
                reason[1] if reason else None,
            )
        before = line or before


def fits(expected: str, printed: str) -> bool:
    """Return whether something printed is what was expected; … stands for anything."""
    pattern = ".*?".join(map(re.escape, expected.strip().split("…")))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None
