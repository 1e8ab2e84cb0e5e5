"""The supervisor's end of one link: frames in, frames out, never blocking."""

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec

from vera_worker import wire
from vera_worker.errors import FrameError
from vera_worker.framing import FrameReader


class Link(asyncio.Protocol):
    """Speaks the wire protocol with one executor.

    At most one task and one wish to stop are ever on their way, so what waits to be written is
    bounded by the size of one request body.
    """

    def __init__(
        self,
        max_payload_bytes: int,
        on_message: Callable[[wire.FromExecutor], None],
        on_broken: Callable[[str], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._frames = FrameReader(max_payload_bytes)
        self._on_message = on_message
        self._on_broken = on_broken
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand on every whole message; what is not a message ends the trust in this executor."""
        try:
            messages = list(map(wire.decode_from_executor, self._frames.feed(data)))
        except (FrameError, msgspec.MsgspecError) as error:
            self.close()
            self._on_broken(f"its executor sent what is no message: {error}")
            return
        for message in messages:
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Say that the executor closed its end, unless we closed ours first."""
        if self._transport is not None:
            self._transport = None
            self._on_closed()

    def send(self, message: wire.ToExecutor) -> None:
        """Send a message, or drop it where the link is gone: then its exit is on the way."""
        if self._transport is not None:
            self._transport.write(wire.pack(message))

    def close(self) -> None:
        """Drop the link with all that was not sent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
