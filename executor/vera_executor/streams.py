"""Standard streams of an executor: all that a task prints, C code and subprocesses included.

Descriptors 1 and 2 are one pipe that the supervisor drains, so what was written survives a kill.
"""

import ctypes
import fcntl
import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Final, Literal

_libc: Final = ctypes.CDLL(None)
_LINE_BUFFERED: Final = 1  # _IOLBF
_FDS: Final = (0, 1, 2)
_NAMES: Final = ("stdin", "stdout", "stderr")
#: A property of open files that nobody else here uses. It marks ours: looking for the mark costs a
#: tenth of comparing identities, and a file that a task puts in their place does not have it.
_MARK: Final = signal.SIGRTMAX


class Streams:
    """The executor's stdin, stdout and stderr."""

    def __init__(self, output_fd: int) -> None:
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.close(nowhere)
        os.close(output_fd)
        for fd in _FDS:
            with suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_SETSIG, _MARK)
        self._identities = [_identity(fd) for fd in _FDS]
        self._streams = _open()
        self._forms = [_form(stream) for stream in self._streams]
        #: Those that Python started with; modules may hold on to them.
        self._first = (sys.__stdout__, sys.__stderr__)
        # C's own buffer would be lost with a kill.
        _libc.setvbuf(ctypes.c_void_p.in_dll(_libc, "stdout"), None, _LINE_BUFFERED, 0)
        sys.stdin, sys.stdout, sys.stderr = self._streams

    def restore(self) -> None:
        """Write out what Python and C still hold, and undo what a task did to `sys.stdout`."""
        touched = not self._untouched()
        self.flush()
        if touched:
            for name in _NAMES:
                _flush(getattr(sys, name, None))
            # The old ones may be wrapped, detached or closed, and of no use any more.
            with suppress(OSError):
                self._streams = _open()
            sys.stdin, sys.stdout, sys.stderr = self._streams

    def flush(self) -> None:
        """Write out what Python and C still hold."""
        _, stdout, stderr = self._streams
        for stream in (stdout, stderr, *self._first):
            _flush(stream)
        _libc.fflush(None)

    @property
    def intact(self) -> bool:
        """Whether descriptors 0 to 2 are still what they were."""
        return _are_marked() or [_identity(fd) for fd in _FDS] == self._identities

    def _untouched(self) -> bool:
        stdin, stdout, stderr = self._streams
        try:
            in_place = sys.stdin is stdin and sys.stdout is stdout and sys.stderr is stderr
        except AttributeError:  # deleted
            return False
        return in_place and [_form(stream) for stream in self._streams] == self._forms


def _open() -> tuple[io.TextIOWrapper, io.TextIOWrapper, io.TextIOWrapper]:
    return _text(0, "r"), _text(1, "w"), _text(2, "w")


def _text(fd: int, mode: Literal["r", "w"]) -> io.TextIOWrapper:
    buffering = 1 if mode == "w" else -1
    return open(fd, mode, buffering, "utf-8", "backslashreplace", closefd=False)


def _flush(stream: Any) -> None:
    try:  # noqa: SIM105 - suppress() costs more than the flush, after every task
        stream.flush()
    except BaseException:  # noqa: BLE001, S110 - a task may have put anything there
        pass


def _form(stream: io.TextIOWrapper) -> tuple[Any, ...] | None:
    try:
        return stream.closed, stream.encoding, stream.errors, stream.line_buffering
    except ValueError:  # detached
        return None


def _are_marked() -> bool:
    asked, get = fcntl.fcntl, fcntl.F_GETSIG
    try:
        return asked(0, get) == asked(1, get) == asked(2, get) == _MARK
    except OSError:  # closed
        return False


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        stat = os.fstat(fd)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
