"""Standard streams of an executor: all that a task prints, C code and subprocesses included.

Descriptors 1 and 2 are one pipe that the supervisor drains, so what was written survives a kill.
"""

import ctypes
import io
import os
import sys
from contextlib import suppress
from typing import Final

_libc: Final = ctypes.CDLL(None)
_LINE_BUFFERED: Final = 1  # _IOLBF


class Streams:
    """The executor's stdin, stdout and stderr."""

    def __init__(self, output_fd: int) -> None:
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.close(nowhere)
        self._pipe = _identity(output_fd)
        os.close(output_fd)
        self._stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
        self._stdout, self._stderr = _text(1), _text(2)
        # C's own buffer would be lost with a kill.
        _libc.setvbuf(ctypes.c_void_p.in_dll(_libc, "stdout"), None, _LINE_BUFFERED, 0)
        self.restore()

    def restore(self) -> None:
        """Undo what a task did to `sys.stdout` and the others."""
        sys.stdin, sys.stdout, sys.stderr = self._stdin, self._stdout, self._stderr

    def flush(self) -> None:
        """Write out what Python and C still hold."""
        for stream in {sys.stdout, sys.stderr, self._stdout, self._stderr}:
            with suppress(Exception):  # a task may have put anything there
                stream.flush()
        _libc.fflush(None)

    @property
    def intact(self) -> bool:
        """Whether descriptors 1 and 2 are still the pipe."""
        return _identity(1) == _identity(2) == self._pipe


def _text(fd: int) -> io.TextIOWrapper:
    return open(fd, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        stat = os.fstat(fd)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
