"""One worker owns the files of a store, and nobody else can replace them."""

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Final

from vera_supervisor.store.protocol import StoreUnavailable, UnavailableNow
from vera_supervisor.trusted_files import is_safe_directory, sync_directory

#: What SQLite, or we, put beside the database.
COMPANIONS: Final = ("-wal", "-shm", "-journal", ".lock")
_OF_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_PRIVATE_DIRECTORY: Final = 0o700
_PRIVATE_FILE: Final = 0o600
#: `struct flock` for a write lock on a whole file; the pid of an OFD lock is 0.
_WHOLE_FILE: Final = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def own(path: Path) -> int:
    """Make the files private and lock them; return the descriptor of the lock file.

    The lock belongs to this descriptor and goes with the process, however that ends. No executor
    inherits it. Raises StoreUnavailable.
    """
    try:
        _claim_directory(path.parent)
        for suffix in COMPANIONS[:-1]:
            companion = Path(f"{path}{suffix}")
            if os.path.lexists(companion):
                os.close(_open_private(companion))
        lock = _open_private(Path(f"{path}.lock"))
        try:
            _lock(lock, path)
            # Only the owner may open and close the database itself: closing any descriptor of it
            # would drop the locks that SQLite has on it in this process.
            os.close(_open_private(path))
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        kind = UnavailableNow if error.errno in _OF_DISK else StoreUnavailable
        raise kind(f"the store {path} cannot be opened: {error.strerror}") from error
    return lock


def _lock(lock: int, path: Path) -> None:
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except (BlockingIOError, PermissionError):
        raise StoreUnavailable(
            f"the store {path} is in use by another worker: stop that one, or give this one a "
            f"store.url of its own"
        ) from None


def _claim_directory(directory: Path) -> None:
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for each in reversed(missing):
        each.mkdir(_PRIVATE_DIRECTORY)
        sync_directory(each.parent)
    if not is_safe_directory(missing[0] if missing else directory):
        raise StoreUnavailable(
            f"the directory {directory} may be written by other users: give the store a directory "
            f"that belongs to this one alone (chmod 700)"
        )


def _open_private(path: Path) -> int:
    """Open a file, or make it, and see to it that it is ours alone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE_FILE)
    except OSError as error:
        if path.is_symlink():
            raise StoreUnavailable(f"{path} is a symbolic link: name the file itself") from error
        raise
    try:
        _check(path, os.fstat(file))
        os.fchmod(file, _PRIVATE_FILE)
    except BaseException:
        os.close(file)
        raise
    return file


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise StoreUnavailable(f"{path} is not a plain file with one name: move it away")
    if found.st_uid != os.geteuid():
        raise StoreUnavailable(
            f"{path} belongs to user {found.st_uid}: run the worker as that user, or move the "
            f"file away"
        )
