"""What the worker writes to its log: one line an event, as text or as JSON."""

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Final

import msgspec

from vera_supervisor import journald
from vera_supervisor.config import LogFormat

_TEXT: Final = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
#: C0 and C1 controls and the line separators, which could forge a line or steer a terminal.
_ESCAPES: Final = {
    code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
}
#: A traceback is lines on purpose; each gets its own mark instead.
_TRACE_ESCAPES: Final = {code: text for code, text in _ESCAPES.items() if code != ord("\n")}


class TextFormatter(logging.Formatter):
    """time - logger - level - message."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line, with nothing in it that could pass for another line."""
        record.message = _encodable(record.message).translate(_ESCAPES)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Return the traceback, indented: it belongs to the line before."""
        text = _encodable(super().formatException(ei))  # type: ignore[arg-type]
        return "  " + text.translate(_TRACE_ESCAPES).replace("\n", "\n  ")


class JournalFormatter(logging.Formatter):
    """Makes any other format fit for the journal: one line, with its priority in front.

    A line is an entry there, so a traceback goes on the line of its message.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = self._inner.format(record).translate(_ESCAPES)
        return f"<{journald.priority(record.levelno)}>{line}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        body = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "logger": record.name,
            "level": record.levelname,
            "message": _encodable(record.getMessage()),
        }
        if record.exc_info:
            body["exception"] = _encodable(self.formatException(record.exc_info))
        return msgspec.json.encode(body).decode().translate(_ESCAPES)


def _encodable(text: str) -> str:
    """Return a text without lone surrogates, which UTF-8 has no bytes for."""
    return text.encode("utf-8", "backslashreplace").decode()


def to_journal() -> bool:
    """Return whether the log goes to systemd's journal."""
    return journald.reads(sys.stderr, os.environ.get("JOURNAL_STREAM"))


def fault(text: str) -> str:
    """Return the line for stderr that says why the program ends, with its priority if needed."""
    return f"<{journald.ERROR}>{text}" if to_journal() else text


def configure(level: str, form: LogFormat) -> None:
    """Send the log to stderr."""
    formatter = JsonFormatter() if form is LogFormat.JSON else TextFormatter()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter(formatter) if to_journal() else formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


class LogThrottle:
    """Limits a message that may be due thousands of times a second to one line in a while."""

    def __init__(self, every_s: float = 10.0) -> None:
        self._every_s = every_s
        self._count = 0
        self._next_at: float | None = None

    def due(self, now: float) -> int:
        """Count once more; return how often it was since the last line if one is due, else 0."""
        self._count += 1
        if self._next_at is not None and now < self._next_at:
            return 0
        self._next_at = now + self._every_s
        count, self._count = self._count, 0
        return count
