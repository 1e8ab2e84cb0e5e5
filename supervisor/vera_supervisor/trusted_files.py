"""What makes a file or a directory one that a worker can rely on, and what it keeps there."""

import logging
import os
import stat
from pathlib import Path
from typing import Final, TypeVar

import msgspec

log = logging.getLogger(__name__)

Kept = TypeVar("Kept")

_OTHERS_WRITE: Final = 0o022
_PRIVATE_FILE: Final = 0o600


def is_ours(found: os.stat_result) -> bool:
    """Return whether it belongs to this user or to root: nobody else can change it at will."""
    return found.st_uid in (os.geteuid(), 0)


def is_safe_directory(directory: Path) -> bool:
    """Return whether nobody else can put a file into it, or take one away; raise OSError."""
    found = directory.stat()
    return is_ours(found) and not stat.S_IMODE(found.st_mode) & _OTHERS_WRITE


def open_to_read(path: str | Path) -> int:
    """Open a file without waiting, as a FIFO would have it; raise OSError."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on disk: what was made there is found after a power cut."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read_kept(
    file: Path, decoder: msgspec.json.Decoder[dict[str, Kept]], consequence: str
) -> dict[str, Kept]:
    """Return what an earlier run kept: nothing where there is no file.

    One that is damaged is left out, and the log says so with what comes of that.
    """
    try:
        return decoder.decode(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s is left out, %s: %s", file, consequence, error)
        return {}


def write_private(file: Path, content: bytes) -> None:
    """Put a file of this user alone in the place of `file`, in one step; raise OSError."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    with open(new, "xb", opener=_private) as opened:  # no link that lies there is followed
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(new, file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _PRIVATE_FILE)
