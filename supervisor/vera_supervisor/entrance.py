"""Who may connect, and how: everything about it that a reload can change, prepared as a whole."""

import ssl
from pathlib import Path
from typing import NamedTuple, TypeAlias

from vera_supervisor.access import (
    Credential,
    UnfitToken,
    credential,
    given_token,
    is_loopback,
    kept_token,
    listed_tokens,
    passed_file,
)
from vera_supervisor.config import Config
from vera_supervisor.store.url import database_path
from vera_supervisor.tls import UnfitCertificate, server_context

#: What preparing it can fail with.
UNFIT = (UnfitToken, UnfitCertificate)

#: None: everybody on this machine.
Credentials: TypeAlias = tuple[Credential, ...] | None


class Entrance(NamedTuple):
    """Whom to let in."""

    credentials: Credentials
    #: None: over plain HTTP.
    tls: ssl.SSLContext | None


def entrance_of(config: Config) -> Entrance:
    """Return what a configuration says of it; raise UNFIT.

    The store must be open: its directory, which is then ours, keeps the token that is made.
    """
    return Entrance(_credentials_of(config), server_context(config))


def _credentials_of(config: Config) -> Credentials:
    auth, found = config.auth, list[Credential]()
    if auth.token is not None:
        found.append(credential(auth.token))
    elif (file := auth.token_file or passed_file("token")) is not None:
        found.append(credential(given_token(Path(file))))
    if (file := auth.tokens_file or passed_file("tokens")) is not None:
        found += listed_tokens(Path(file))
    if found:
        return tuple(found)
    if config.server.unix_socket is not None or is_loopback(config.server.host):
        return None
    database = database_path(config.store.url)
    if database is None:
        # A token in memory would change with every start, and nobody could look it up.
        raise UnfitToken(
            f"server.host is {config.server.host}, and a store in memory has no directory to keep "
            f"a token in: set auth.token (WORKER_TOKEN), or bind to 127.0.0.1"
        )
    return (credential(kept_token(database.parent)),)
