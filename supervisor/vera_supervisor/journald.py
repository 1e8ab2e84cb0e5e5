"""systemd's journal, where the log goes there: priorities of lines, and entries with fields.

Lines reach the journal by stderr, with their priority as `<N>` in front (`SyslogLevelPrefix=`).
What a task printed goes there as entries of its own, which can be found by the task's id.
"""

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TextIO

_SOCKET: Final = Path("/run/systemd/journal/socket")
#: Priorities of syslog(3), from the least level of the log that has them.
_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG: Final = 7
INFO: Final = 6
ERROR: Final = 3


def priority(level: int) -> int:
    """Return the priority in the journal of a level of the log."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def reads(stream: TextIO, named: str | None) -> bool:
    """Return whether a stream is the one that systemd connected to the journal.

    `named` is `$JOURNAL_STREAM`, which says which one that is; it is inherited by whoever is
    started with stderr redirected, so its word alone does not do.
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


class Journald:
    """Sends entries with fields; what the journal does not take at once is lost, and counted."""

    def __init__(self, address: Path = _SOCKET) -> None:
        self._address = str(address)
        self.lost = 0

    def send(self, fields: Mapping[str, bytes]) -> None:
        """Send one entry; names are of capital letters and underscores, values any bytes."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a journal that does not read must not hold us up
                sender.sendto(b"".join(map(_field, fields, fields.values())), self._address)
        except OSError:
            self.lost += 1


def _field(name: str, value: bytes) -> bytes:
    """Return a field in the form that allows any bytes: its length stands before the value."""
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
