"""Lines out of bytes that come in pieces: no I/O, and never more in hand than one line."""

from typing import NamedTuple


class Line(NamedTuple):
    """One line that is not blank; `text` is None where it was too long to be kept."""

    #: Its place among all lines, from 1.
    number: int
    text: bytes | None


class Splitter:
    """Cuts what comes in into lines of at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun = bytearray()
        #: Whether the line that has begun is too long already.
        self._too_long = False
        self._number = 0

    def feed(self, data: bytes) -> list[Line]:
        """Return the lines that end in `data`."""
        *whole, rest = data.split(b"\n")
        lines: list[Line] = []
        for text in whole:
            if self._begun or self._too_long:
                self._begin(text)
                self._end(lines)
            else:
                self._add(text, lines)
        self._begin(rest)
        return lines

    def end(self) -> list[Line]:
        """Return the last line, where no line feed came after it."""
        lines: list[Line] = []
        self._end(lines)
        return lines

    def _begin(self, text: bytes) -> None:
        if self._too_long or len(self._begun) + len(text) > self._max_bytes:
            self._too_long = True
            self._begun.clear()
        else:
            self._begun += text

    def _end(self, lines: list[Line]) -> None:
        if self._too_long:
            self._number += 1
            lines.append(Line(self._number, None))
        else:
            self._add(bytes(self._begun), lines)
        self._begun.clear()
        self._too_long = False

    def _add(self, text: bytes, lines: list[Line]) -> None:
        self._number += 1
        if len(text) > self._max_bytes:
            lines.append(Line(self._number, None))
        elif text and not text.isspace():
            lines.append(Line(self._number, text))
