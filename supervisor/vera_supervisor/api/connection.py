"""One connection: HTTP/1.1 as Hypercorn speaks it, and nothing else.

A client may be slow, but not for ever: reading late, sending late and saying nothing each have a
time limit, and then we hang up.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState

from vera_supervisor.api.inbox import Requests
from vera_supervisor.api.peers import Peer
from vera_supervisor.api.problems import Problem, body_of, headers_of, new_request_id

MAX_HEAD_BYTES: Final = 16 * 1024
_PIECE_BYTES: Final = 64 * 1024
#: Seconds for which we go on reading what a client still sends after it has its answer: hanging up
#: on unread bytes would reset the connection, and the answer could be lost.
_LINGER_S: Final = 2.0
#: Seconds that the end of an answer may take to leave after we have said all.
_FLUSH_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What all connections of a server share."""

    #: An ASGI application; Hypercorn only passes it on.
    app: Any
    config: Config
    context: WorkerContext
    #: Seconds that a client may take to read a piece of an answer.
    send_timeout_s: float


class Connection(TCPServer):
    """Serves the requests of one client, one after the other."""

    def __init__(
        self,
        setting: Setting,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: Peer,
        on_idle: Callable[["Connection", bool], None],
    ) -> None:
        """`on_idle` hears whether a request is under way, whenever that changes."""
        loop = asyncio.get_running_loop()
        super().__init__(setting.app, loop, setting.config, setting.context, {}, reader, writer)
        self.peer = peer
        self._send_timeout_s = setting.send_timeout_s
        self._on_idle = on_idle
        self._transport = writer.transport
        self._most_unsent = self._transport.get_write_buffer_limits()[1]
        #: Set once the client has sent everything.
        self._at_end = asyncio.Event()
        self._reading: asyncio.Task[Any] | None = None
        self._lingering = False

    async def run(self) -> None:
        """Serve until one of both hangs up."""
        try:
            async with Requests(self.loop) as group:
                self.protocol = Http11(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    group,
                    ConnectionState(self.state),
                    self.writer.get_extra_info("ssl_object") is not None,
                    self.peer.client,
                    None,
                    self.protocol_send,
                )
                await self._read_data()
        except OSError:
            pass  # the client is gone
        finally:
            await self._close()

    def expire(self) -> None:
        """Hang up; the second time, without waiting for what is still to be sent."""
        if self._transport.is_closing():
            self.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    async def _read_data(self) -> None:
        self._reading = asyncio.current_task()
        try:
            while data := await self.reader.read(_PIECE_BYTES):
                if not self._lingering:
                    await self.protocol.handle(RawData(data))
        except OSError:
            pass  # the client is gone
        finally:
            self._at_end.set()
        await self.protocol.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        """Carry out what the protocol wants."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated):
            if event.idle and self.reader.at_eof():
                await self._close()  # it will ask for nothing more
            else:
                self._on_idle(self, event.idle)
        elif isinstance(event, Closed):
            await self._close()

    async def _send(self, data: bytes) -> None:
        if self._transport.is_closing():
            await self.protocol.handle(Closed())
            return
        self.writer.write(data)
        if self._transport.get_write_buffer_size() <= self._most_unsent:
            return
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self.writer.drain()
        except (TimeoutError, ConnectionError, RuntimeError):
            self._transport.abort()  # it does not read
            await self.protocol.handle(Closed())

    async def _close(self) -> None:
        protocol: Any = getattr(self, "protocol", None)
        try:
            async with asyncio.timeout(_FLUSH_S):
                if protocol is not None and protocol.cut_short and not self._at_end.is_set():
                    await self._linger()
                self.writer.close()
                await self.writer.wait_closed()
        except (TimeoutError, OSError, RuntimeError):
            pass  # the client is gone, or does not read
        finally:
            self._transport.abort()

    async def _linger(self) -> None:
        """Say that the answer is complete, and let the client finish sending."""
        self._lingering = True
        self._on_idle(self, True)
        try:
            if self.writer.can_write_eof():
                self.writer.write_eof()
            async with asyncio.timeout(_LINGER_S):
                if asyncio.current_task() is not self._reading:
                    await self._at_end.wait()
                    return
                while await self.reader.read(_PIECE_BYTES):
                    pass
        except (TimeoutError, OSError, RuntimeError):
            pass


class Http11(H11Protocol):
    """Leaves requests to upgrade to the guard, and answers what is not HTTP with a problem."""

    #: Whether an answer was given before its request had come to its end.
    cut_short = False

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
        connection: Any = self.connection
        if connection.they_are_waiting_for_100_continue:
            # Hypercorn would say so at once; the application asks when it has let the client in.
            connection.client_is_waiting_for_100_continue = False
            requests: Any = self.task_group
            requests.ask = self._ask_for_body
        await super()._create_stream(request)

    async def _ask_for_body(self) -> None:
        if self.connection.our_state is h11.SEND_RESPONSE:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def stream_send(self, event: StreamEvent) -> None:
        """Announce that the connection closes after an answer that came before the whole body."""
        if isinstance(event, Response) and self.connection.their_state is h11.SEND_BODY:
            self.cut_short = True
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        self.cut_short = True
        if status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            problem = Problem(431, f"headers have at most {MAX_HEAD_BYTES} bytes here")
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
