"""The token by which clients come in: read from a file, or made once and kept in one."""

import logging
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from vera_worker.errors import VeraError

log = logging.getLogger(__name__)

_TOKEN_BYTES: Final = 32
_FILE_NAME: Final = "token"
#: A file of ours is for its owner alone. One that was given may be read by a group, as systemd's
#: credentials are.
_NOT_FOR_KEPT: Final = 0o077
_NOT_FOR_GIVEN: Final = 0o027
_MAX_BYTES: Final = 4096 + len(b"\n")
_VISIBLE: Final = re.compile(rb"[!-~]{1,4096}")


class UnfitToken(VeraError):
    """The file of the token cannot be used; the message says what to do."""


def given_token(path: Path) -> str:
    """Return the token in a file that the configuration names; raise UnfitToken."""
    return _read(path, _NOT_FOR_GIVEN)


def kept_token(directory: Path) -> str:
    """Return the token kept in the state directory, made if there is none; raise UnfitToken.

    The caller must own the directory: nobody else may be starting in it.
    """
    path = directory / _FILE_NAME
    try:
        if not os.path.lexists(path):
            _make(path)
    except OSError as error:
        raise UnfitToken(f"the token file {path} cannot be made: {error.strerror}") from error
    token = _read(path, _NOT_FOR_KEPT)
    if len(token) != len(secrets.token_urlsafe(_TOKEN_BYTES)):
        raise UnfitToken(f"the token file {path} is torn: remove it, and a new token is made")
    log.info("clients need the token in %s", path.absolute())
    return token


def _make(path: Path) -> None:
    draft = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        draft.unlink()  # of a start that was cut off
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="ascii") as stream:
        stream.write(secrets.token_urlsafe(_TOKEN_BYTES) + "\n")
        stream.flush()
        os.fsync(file)
    draft.rename(path)  # whole or not at all
    _sync_names(path.parent)


def _sync_names(directory: Path) -> None:
    """Put the names in it on disk: a token that clients were given must outlast a power cut."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _read(path: Path, forbidden: int) -> str:
    try:
        # Without O_NONBLOCK a FIFO would hold up the start.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(file, "rb") as stream:
            found = os.fstat(file)
            content = stream.read(_MAX_BYTES + 1) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise UnfitToken(f"the token file {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(found.st_mode) & forbidden:
        raise UnfitToken(
            f"the token file {path} is open to other users: change the token, and chmod 600 it"
        )
    token = content.removesuffix(b"\n")
    if not _VISIBLE.fullmatch(token):
        raise UnfitToken(
            f"the token file {path} must hold one line of visible ASCII characters without spaces"
        )
    return token.decode("ascii")
