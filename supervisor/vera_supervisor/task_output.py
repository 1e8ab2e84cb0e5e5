"""What tasks print, in the log of the worker too, to be found by the id of the task."""

import logging
from typing import Final

from vera_supervisor.journald import INFO, Journald

log = logging.getLogger(__name__)

#: Most of an entry's text: a datagram has room for it on every machine.
PIECE_BYTES: Final = 32 * 1024
_IDENTIFIER: Final = b"vera-task"


class TaskOutput:
    """Logs what an attempt printed, once it has ended: at most `limits.max_output` of it.

    In the journal these are entries with the field VERA_TASK_ID; elsewhere a line of the log for
    each line that was printed.
    """

    def __init__(self, journald: Journald | None) -> None:
        self._journald = journald

    def write(self, task_id: str, attempt: int, output: bytes) -> None:
        """Log the output of an attempt."""
        if self._journald is None:
            for line in output.decode("utf-8", "replace").splitlines():
                log.info("%s: %s", task_id, line)
            return
        for piece in pieces(output):
            self._journald.send(
                {
                    "MESSAGE": piece,
                    "PRIORITY": str(INFO).encode(),
                    "SYSLOG_IDENTIFIER": _IDENTIFIER,
                    "VERA_TASK_ID": task_id.encode(),
                    "VERA_ATTEMPT": str(attempt).encode(),
                }
            )


def pieces(output: bytes) -> list[bytes]:
    """Return whole lines, as many in a piece as there is room for; longer ones are cut."""
    found, rest = list[bytes](), output.rstrip(b"\n")
    while len(rest) > PIECE_BYTES:
        end = rest.rfind(b"\n", 0, PIECE_BYTES) + 1 or PIECE_BYTES
        found.append(rest[:end].rstrip(b"\n"))
        rest = rest[end:]
    return [piece for piece in (*found, rest) if piece]
