"""Who may use the API: tokens read from files, or made once and kept in one, and their scopes.

Tokens are compared as digests. A file of several may hold nothing but digests, so that whoever
reads it has no token.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from vera_supervisor.trusted_files import is_ours, open_to_read, sync_directory
from vera_worker.errors import VeraError

log = logging.getLogger(__name__)

#: Prefix of the credentials for us: `LoadCredential=vera-worker.token:…` in a unit.
_PASSED: Final = "vera-worker."

_TOKEN_BYTES: Final = 32
#: The log warns of a token of fewer characters: whoever may ask often can try all likely ones.
_SHORT: Final = 16
_FILE_NAME: Final = "token"
#: Mode bits that must not be set. A file that we made is for its owner alone; one that was given to
#: us may be readable by a group, as systemd's credentials are.
_NOT_FOR_KEPT: Final = 0o077
_NOT_FOR_GIVEN: Final = 0o027
_MAX_BYTES: Final = 4096 + len(b"\n")
_VISIBLE: Final = re.compile(rb"[!-~]{1,4096}")
_MAX_LIST_BYTES: Final = 1024 * 1024
#: A line of a list of tokens: name, scopes, and the token or its digest.
_ENTRY: Final = re.compile(r"([A-Za-z0-9._-]{1,64})\s+([a-z,]+)\s+([!-~]{1,4096})")
_DIGEST: Final = re.compile(r"sha256:([0-9a-fA-F]{64})")


class Scope(StrEnum):
    """What a token is for."""

    READ = "read"
    SUBMIT = "submit"
    #: Includes all the others.
    ADMIN = "admin"


class Credential(NamedTuple):
    """What is known of a token: its name, its digest and its scopes."""

    name: str
    digest: bytes
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Return whether it has that scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def credential(token: str, name: str = "token") -> Credential:
    """Return the credential of a token that has every scope."""
    _warn_if_short(token, name)
    return Credential(name, digest(token.encode()), frozenset({Scope.ADMIN}))


def _warn_if_short(token: str, name: str) -> None:
    if len(token) < _SHORT:
        log.warning(
            "the token %r has %d characters and can be guessed: take 32 random ones, such as those "
            "of openssl rand -hex 16",
            name, len(token),
        )  # fmt: skip


def digest(token: bytes) -> bytes:
    """Return the digest of a token, which is all that is kept of it."""
    return hashlib.sha256(token).digest()


def find(token: bytes, known: Iterable[Credential]) -> Credential | None:
    """Return whose token that is, or None, in a time that says nothing about any of them."""
    sent, found = digest(token), None
    for one in known:
        if hmac.compare_digest(sent, one.digest):
            found = one
    return found


def differences(old: Iterable[Credential] | None, new: Iterable[Credential] | None) -> list[str]:
    """Return what has changed, in words that give no token away."""
    before, after = ({one.name: one for one in some or ()} for some in (old, new))
    said = [f"{name!r} is known no more" for name in before if name not in after]
    for name, one in after.items():
        known = before.get(name)
        if known is None:
            said.append(f"{name!r} is new, for {','.join(sorted(one.scopes))}")
        elif known.digest != one.digest:
            said.append(f"{name!r} is another one")
        elif known.scopes != one.scopes:
            said.append(f"{name!r} is for {','.join(sorted(one.scopes))}")
    return said


def is_loopback(name: str) -> bool:
    """Return whether a host name or address means this machine alone."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class UnfitToken(VeraError):
    """The file of the token cannot be used; the message says what to do."""


def passed_file(name: str) -> str | None:
    """Return the file that systemd passes on as the credential `vera-worker.NAME`, if it does."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(directory, _PASSED + name) if directory else ""
    return path if path and os.path.lexists(path) else None


def given_token(path: Path) -> str:
    """Return the token in a file that the configuration names; raise UnfitToken."""
    return _read(path, _NOT_FOR_GIVEN)


def listed_tokens(path: Path) -> tuple[Credential, ...]:
    """Return the tokens in a file of lines `name scope[,scope] token`; raise UnfitToken.

    Instead of the token its digest may stand there, as `sha256:` and 64 hexadecimal digits. Empty
    lines and those that begin with # are left out.
    """
    content = _contents(path, _NOT_FOR_GIVEN, _MAX_LIST_BYTES)
    found: dict[str, Credential] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        entry = _ENTRY.fullmatch(line.strip())
        if entry is None:
            raise UnfitToken(
                f"{path}, line {number}: a name, its scopes (such as submit,read) and a token, "
                f"separated by blanks, are expected"
            )
        name, scopes, token = entry.groups()
        unknown = set(scopes.split(",")) - set(Scope)
        if unknown:
            raise UnfitToken(
                f"{path}, line {number}: there is no scope {min(unknown)!r}; "
                f"the scopes are {', '.join(Scope)}"
            )
        if name in found:
            raise UnfitToken(f"{path}, line {number}: the name {name!r} was there before")
        given = _DIGEST.fullmatch(token)
        if given is None:
            _warn_if_short(token, name)
        known = digest(token.encode()) if given is None else bytes.fromhex(given[1])
        found[name] = Credential(name, known, frozenset(map(Scope, scopes.split(","))))
    if not found:
        raise UnfitToken(f"{path} holds no token: nobody could come in")
    return tuple(found.values())


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
    sync_directory(path.parent)  # a token that clients were given must outlast a power cut


def _read(path: Path, forbidden: int) -> str:
    token = _contents(path, forbidden, _MAX_BYTES).removesuffix(b"\n")
    if not _VISIBLE.fullmatch(token):
        raise UnfitToken(
            f"the token file {path} must hold one line of visible ASCII characters without spaces"
        )
    return token.decode("ascii")


def _contents(path: Path, forbidden: int, most: int) -> bytes:
    try:
        file = open_to_read(path)
        with open(file, "rb") as stream:
            found = os.fstat(file)
            content = stream.read(most + 1) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise UnfitToken(f"the token file {path} cannot be read: {error.strerror}") from error
    if not is_ours(found):
        raise UnfitToken(
            f"the token file {path} belongs to user {found.st_uid}, who could change it: chown it"
        )
    if stat.S_IMODE(found.st_mode) & forbidden:
        raise UnfitToken(
            f"the token file {path} is open to other users: change the token, and chmod 600 it"
        )
    return content
