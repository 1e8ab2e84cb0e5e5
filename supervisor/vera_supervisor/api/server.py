"""The HTTP server: accepts connections while there is room, and closes them all at its end.

Hypercorn's own serve() waits at shutdown until clients hang up, however long that takes, accepts
HTTP/2 on a plain port, and accepts connections until no descriptor is left for anything else. Here
the deadline is ours, only HTTP/1.1 is spoken, and there is always a place for a newcomer.
"""

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from vera_supervisor.api.connection import MAX_HEAD_BYTES, Connection, Setting
from vera_supervisor.api.peers import Peer, peer_of
from vera_supervisor.api.problems import Problem, body_of, headers_of, new_request_id
from vera_supervisor.api.room import Room
from vera_supervisor.api.streams import open_streams
from vera_supervisor.listening import leave
from vera_supervisor.logs import LogThrottle

log = logging.getLogger(__name__)

#: Seconds from a connection, or from its last answer, until the whole head of a request is there.
IDLE_S: Final = 10.0
#: Seconds that the handshake of TLS may take, and its end.
_TLS_S: Final = 5.0
#: Connections that are accepted before the worker's other clients get a turn.
_AT_ONCE: Final = 32
#: Seconds until we try again after the machine could not give us a connection.
_RETRY_S: Final = 0.5
#: Seconds between two looks at the idle connections.
_REAP_S: Final = 0.25


class _Caller(NamedTuple):
    """An accepted connection whose TLS handshake is not done yet."""

    peer: Peer
    task: "asyncio.Task[None]"

    def expire(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.task.cancel()


Guest: TypeAlias = Connection | _Caller


class Server:
    """Serves an application on listening sockets until it is closed."""

    def __init__(
        self,
        app: ASGIFramework,
        sockets: list[socket.socket],
        room: Room[Guest],
        *,
        send_timeout_s: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        #: For connections from now on; a reload replaces it.
        self.tls = tls
        self._sockets = sockets
        self._room = room
        config = Config()
        config.accesslog = None
        config.errorlog = log
        config.include_server_header = False
        config.h11_max_incomplete_size = MAX_HEAD_BYTES
        config.keep_alive_max_requests = 1_000_000
        self._context = WorkerContext(None)
        self._setting = Setting(app, config, self._context, send_timeout_s)
        #: None until the TLS handshake is done.
        self._connections: dict[asyncio.Task[None], Connection | None] = {}
        self._reaper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._crowded, self._failed, self._strange = LogThrottle(), LogThrottle(), LogThrottle()

    async def open(self) -> None:
        """Begin to accept connections."""
        self._loop = asyncio.get_running_loop()
        for sock in self._sockets:
            sock.setblocking(False)
            self._loop.add_reader(sock, self._accept, sock)
        self._reaper = asyncio.create_task(self._reap())

    async def close(self, grace_s: float) -> None:
        """Accept no more connections, let requests end within `grace_s`, then close the rest."""
        while self._sockets:
            sock = self._sockets.pop()
            self._loop.remove_reader(sock)
            leave(sock)
        if self._reaper is not None:
            self._reaper.cancel()
        await self._context.terminated.set()  # what is under way is the last of its connection
        for guest in self._room.resting():
            guest.expire()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace_s)
        for task, held in list(self._connections.items()):
            if held is not None:
                held.abort()
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace_s)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listener, error)
                return
            peer = peer_of(sock, address)
            if self._make_room(peer.share):
                self._room.enter(peer.share)
                task = self._loop.create_task(self._serve(sock, peer))
                self._connections[task] = None
            else:
                self._turn_away(sock, peer)

    def _make_room(self, share: str) -> bool:
        if self._room.has_place(share):
            return True
        guest = self._room.dispensable(share)
        if guest is None:
            return False
        self._note(guest, False)
        guest.abort()  # it rests, and somebody wants to be served
        return True

    def _turn_away(self, sock: socket.socket, peer: Peer) -> None:
        if count := self._crowded.due(self._loop.time()):
            log.warning(
                "no room for %d connections, the last one from %s: there are %d of at most %d "
                "(%d of one peer); see server.max_connections",
                count, peer.share, len(self._room), self._room.most, self._room.most_of_one,
            )  # fmt: skip
        with sock, suppress(OSError):
            sock.setblocking(False)
            if self.tls is None:
                sock.send(_no_room())
                sock.shutdown(socket.SHUT_WR)

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """Stop accepting for a moment: there is no descriptor or no memory for a connection."""
        if count := self._failed.due(self._loop.time()):
            log.error("connections cannot be accepted (%d times): %s", count, error.strerror)
        self._loop.remove_reader(listener)
        self._loop.call_later(_RETRY_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._accept, listener)

    async def _serve(self, sock: socket.socket, peer: Peer) -> None:
        task = asyncio.current_task()
        assert task is not None
        guest: Guest = _Caller(peer, task)
        try:
            sock.setblocking(False)
            self._note(guest, True)
            reader, writer = await open_streams(sock, self.tls, _TLS_S)
            self._note(guest, False)
            guest = Connection(self._setting, reader, writer, peer, self._note)
            self._connections[task] = guest
            self._note(guest, True)
            await guest
        except asyncio.CancelledError:
            pass  # we hung up
        except OSError as error:
            if count := self._strange.due(self._loop.time()):
                log.info(
                    "connections that came to nothing: %d, the last one from %s: %s",
                    count, peer.client[0], str(error) or type(error).__name__,
                )  # fmt: skip
        except Exception:
            log.exception("a connection broke")
        finally:
            if isinstance(guest, _Caller):
                sock.close()
            self._note(guest, False)
            self._room.leave(peer.share)
            del self._connections[task]

    def _note(self, guest: Guest, idle: bool) -> None:
        if idle:
            self._room.rest(guest, guest.peer.share, self._loop.time())
        else:
            self._room.work(guest, guest.peer.share)

    async def _reap(self) -> None:
        """Close connections that have been idle for too long, for ever."""
        while True:
            await asyncio.sleep(_REAP_S)
            now = self._loop.time()
            for guest in self._room.resting_since(now - IDLE_S):
                self._note(guest, True)  # it has as long again to take what is still to be sent
                guest.expire()


def _no_room() -> bytes:
    """Return a whole answer for a client whose request is not even read."""
    problem = Problem(503, "all connections of this worker are in use", retry_after=1)
    body = body_of(problem, new_request_id())
    headers = {**headers_of(problem), "content-length": str(len(body)), "connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 503 Service Unavailable\r\n{lines}\r\n".encode() + body
