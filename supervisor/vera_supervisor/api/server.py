"""The HTTP server: Hypercorn's HTTP/1.1 behind a listener of our own.

Hypercorn's own serve() waits on shutdown for clients to hang up, as long as they please, and
takes HTTP/2 on a plain port. Here the deadline is ours, and HTTP/1.1 is all that is spoken.
"""

import asyncio
import logging
import socket
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

import h11
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import parse_socket_addr

from vera_supervisor.api.problems import Problem, body_of, headers_of, new_request_id

log = logging.getLogger(__name__)

_MAX_HEAD_BYTES: Final = 16 * 1024


class Server:
    """Serves an application on listening sockets until it is closed."""

    def __init__(self, app: ASGIFramework, sockets: list[socket.socket]) -> None:
        self._app = ASGIWrapper(app)
        self._sockets = sockets
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = log
        self._config.include_server_header = False
        self._config.h11_max_incomplete_size = _MAX_HEAD_BYTES
        self._config.keep_alive_timeout = 10
        self._config.keep_alive_max_requests = 1_000_000
        self._context = WorkerContext(None)
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._listeners: list[asyncio.Server] = []

    async def open(self) -> None:
        """Begin to accept connections."""
        for sock in self._sockets:
            listener = await asyncio.start_server(
                self._connected, sock=sock, backlog=self._config.backlog
            )
            self._listeners.append(listener)

    async def close(self, grace_s: float) -> None:
        """Accept no more, let requests under way end within `grace_s`, then hang up on all."""
        for listener in self._listeners:
            listener.close()
        await self._context.terminated.set()  # idle connections close at once
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace_s)
        for task, writer in list(self._connections.items()):
            writer.transport.abort()
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace_s)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            await _Connection(
                self._app,
                asyncio.get_running_loop(),
                self._config,
                self._context,
                {},
                reader,
                writer,
            )
        except asyncio.CancelledError:
            pass  # close() hung up
        except Exception:
            log.exception("a connection broke")
        finally:
            del self._connections[task]


class _Connection(TCPServer):
    """One connection that speaks HTTP/1.1 and nothing else."""

    async def run(self) -> None:
        peer: Any = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(peer.family, peer.getpeername())
            server = parse_socket_addr(peer.family, peer.getsockname())
            async with TaskGroup(self.loop) as task_group:
                self._task_group = task_group
                self.protocol = _Http11(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                await self.protocol.initiate()
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
                await self.idle_task.stop()
        except OSError:
            pass  # the client is gone
        finally:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        """Keep no connection alive for a client that will send no more."""
        if isinstance(event, Updated) and event.idle and self.reader.at_eof():
            event = Closed()
        await super().protocol_send(event)


class _Http11(H11Protocol):
    """Leaves every wish to upgrade to the guard, and answers what is no HTTP with a problem."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Take no upgrade to HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        if any(name == b"upgrade" for name, _ in request.headers):  # no WebSocket either
            request = h11.Request(
                method=request.method,
                target=request.target,
                headers=[header for header in request.headers if header[0] != b"connection"],
                http_version=request.http_version,
            )
        await super()._create_stream(request)

    async def stream_send(self, event: StreamEvent) -> None:
        """Announce that the connection closes after an answer that came before the whole body."""
        if isinstance(event, Response) and self.connection.their_state is h11.SEND_BODY:
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        if status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            problem = Problem(431, f"headers have at most {_MAX_HEAD_BYTES} bytes here")
        else:
            problem = Problem(400, "this is not HTTP/1.1 as RFC 9112 has it")
        body = body_of(problem, new_request_id())
        headers = [
            *headers_of(problem).items(),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        await self._send_h11_event(h11.Response(status_code=problem.status, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
