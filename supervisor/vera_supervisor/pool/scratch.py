"""A directory for what is of use while a worker lives, such as the files of sandboxed attempts.

Its worker holds a lock on it, which the kernel releases however the worker ends, even by SIGKILL.
Whoever makes the next directory removes those that nobody holds.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

#: What the names of all such directories begin with, in the machine's place for temporary files.
PREFIX: Final = "vera-worker."


class Scratch:
    """One such directory, which only this user can enter."""

    def __init__(self) -> None:
        """Make it; raise OSError where there is no place for it."""
        remove_stale()
        while True:
            self.path = tempfile.mkdtemp(prefix=PREFIX)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if os.path.exists(self.path):
                return
            os.close(self._lock)  # somebody took it for a stale one before it was locked

    def remove(self) -> None:
        """Remove it with all that is in it."""
        remove(self.path)
        os.close(self._lock)


def remove_stale() -> None:
    """Remove what killed workers of this user have left."""
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with suppress(OSError):  # held, or another's, or just removed
                _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    if path.lstat().st_uid != os.geteuid():
        return
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(str(path))
    finally:
        os.close(lock)


def remove(directory: str) -> None:
    """Remove a directory with all that is in it, though a task may have locked parts of it."""
    shutil.rmtree(directory, ignore_errors=True)
    if os.path.exists(directory):
        for path, _, _ in os.walk(directory):
            with suppress(OSError):
                os.chmod(path, stat.S_IRWXU)
        shutil.rmtree(directory, ignore_errors=True)
