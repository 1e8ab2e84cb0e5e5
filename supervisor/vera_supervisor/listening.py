"""Where clients connect: an address and a port, or a Unix socket in a directory of ours."""

import grp
import logging
import os
import resource
import socket
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from vera_supervisor.config import Config
from vera_supervisor.trusted_files import is_safe_directory
from vera_worker.errors import VeraError

log = logging.getLogger(__name__)

#: Connections that wait to be accepted.
_BACKLOG: Final = 1024
#: A vanished peer is noticed within a minute, even on a connection that is silent for long.
_KEEP_ALIVE: Final = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 20,  # seconds of silence before the first probe
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,  # seconds between two probes
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 40_000,  # milliseconds without any answer
}
#: Files that the worker opens besides connections: for itself, and for each executor.
_OWN_FILES: Final = 64
_FILES_OF_EXECUTOR: Final = 8
_FEWEST: Final = 16


class CannotListen(VeraError):
    """That address or path cannot be listened on now; the message says what to do."""


class UnfitSocket(VeraError):
    """A Unix socket there would be unsafe, or in the way; the user has to mend that."""


def listen(config: Config) -> socket.socket:
    """Return the listening socket; raise CannotListen or UnfitSocket."""
    if config.server.unix_socket is not None:
        return _listen_on_path(Path(config.server.unix_socket), config.server.unix_socket_group)
    return _listen_on_port(config.server.host, config.server.port)


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """Return the URL of that socket."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def most_connections(config: Config) -> int:
    """Return how many connections there may be, leaving enough files for everything else."""
    asked = config.server.max_connections
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return asked
    left = soft - _OWN_FILES - _FILES_OF_EXECUTOR * config.executor.max_workers
    if left < asked:
        log.warning(
            "the limit of %d open files leaves room for %d connections, not for "
            "server.max_connections = %d: raise it (LimitNOFILE= of the unit, or ulimit -n)",
            soft, max(left, _FEWEST), asked,
        )  # fmt: skip
    return max(_FEWEST, min(asked, left))


def leave(listener: socket.socket) -> None:
    """Close the socket, and remove its name if it has one in the file system."""
    with listener:
        if listener.family == socket.AF_UNIX and listener.fileno() >= 0:
            with suppress(OSError):
                os.unlink(listener.getsockname())


def _listen_on_port(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as undo:
            sock = undo.enter_context(socket.socket(family, kind, protocol))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for (level, option), value in _KEEP_ALIVE.items():
                sock.setsockopt(level, option, value)  # what is accepted inherits it
            sock.bind(address)
            sock.listen(_BACKLOG)
            undo.pop_all()
    except OSError as error:
        raise CannotListen(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


def _listen_on_path(path: Path, group: str | None) -> socket.socket:
    try:
        group_id = None if group is None else grp.getgrnam(group).gr_gid
        _check_directory(path.parent)
        _remove_stale(path)
        with ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX))
            before = os.umask(0o177)  # until it has its group it is for us alone
            try:
                sock.bind(str(path))
            finally:
                os.umask(before)
            if group_id is not None:
                os.chown(path, -1, group_id)
                path.chmod(0o660)
            sock.listen(_BACKLOG)
            undo.pop_all()
    except KeyError as error:
        raise UnfitSocket(f"server.unix_socket_group: there is no group {group!r}") from error
    except OSError as error:
        reason = error.strerror or str(error)  # a path that is too long has no error number
        raise CannotListen(f"cannot listen on server.unix_socket {path}: {reason}") from error
    return sock


def _check_directory(directory: Path) -> None:
    if not is_safe_directory(directory):
        raise UnfitSocket(
            f"the directory {directory} may be written by other users: put server.unix_socket "
            f"into one that belongs to the worker's user, or to root, alone"
        )


def _remove_stale(path: Path) -> None:
    """Remove a socket that an earlier run has left, and nothing else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise UnfitSocket(f"{path} is there and no socket of this user: move it away")
    with socket.socket(socket.AF_UNIX) as caller:
        if caller.connect_ex(str(path)) == 0:
            raise CannotListen(f"another worker listens on {path}: stop it, or use another path")
    path.unlink()
