"""What the tasks of one executor print: drained without pause, kept up to a limit."""

import asyncio
import os
import re
import select
from typing import Final

_READ_BYTES: Final = 64 * 1024
#: Reads at one go, so that a flood of one executor cannot keep the loop from all others.
_READS_AT_ONCE: Final = 16
_LEFT_OUT: Final = re.compile(rb"\[\.\.\. ([0-9]{1,18}) bytes left out \.\.\.\]\n")


def left_out(count: int) -> bytes:
    """Return the line that stands for bytes that are missing; nothing where none are."""
    return b"[... %d bytes left out ...]\n" % count if count else b""


def split(printed: bytes) -> tuple[int, bytes]:
    """Return how many bytes are missing at the start of an output, and what was kept."""
    found = _LEFT_OUT.match(printed)
    return (0, printed) if found is None else (int(found[1]), printed[found.end() :])


class Output:
    """The read end of an executor's standard streams, and the output of its present task.

    Of more than `max_bytes` the last ones are kept, after a line that says how much is missing.
    """

    def __init__(self, fd: int, max_bytes: int) -> None:
        self._fd = fd
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._dropped = 0
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._loop.add_reader(fd, self._drain)

    def peek(self) -> bytes:
        """Return what the present task has printed so far."""
        return left_out(self._dropped) + self._kept

    def take(self) -> bytes:
        """Return all that the task that has just ended printed, and start anew.

        It wrote before it answered, so whatever the pipe holds now is its own.
        """
        if self._poll.poll(0):  # cheaper than a read that finds nothing, which is the usual case
            self._drain()
        taken = self.peek()
        if taken:
            self._kept.clear()
            self._dropped = 0
        return taken

    def close(self) -> None:
        """Stop reading."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _drain(self) -> None:
        for _ in range(_READS_AT_ONCE):
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:  # every writer is gone
                self._loop.remove_reader(self._fd)
                return
            self._kept += data
            excess = len(self._kept) - self._max_bytes
            if excess > 0:
                del self._kept[:excess]
                self._dropped += excess
            if len(data) < _READ_BYTES:
                return
