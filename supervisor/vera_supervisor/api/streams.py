"""The two directions of a connection, each of which keeps little in memory.

An event loop may read 256 KiB at once from a client that pushes, and hand them on before anybody
can object; with a few hundred such clients that adds up. Here all connections are read through one
small buffer.
"""

import asyncio
import socket
import ssl
from typing import Final

_PIECE: Final = memoryview(bytearray(64 * 1024))
#: No more is read while twice so much is there and not used.
_UNUSED_BYTES: Final = 16 * 1024


async def open_streams(
    sock: socket.socket, tls: ssl.SSLContext | None, tls_timeout_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return what to read from and write to an accepted connection; raise OSError.

    `tls_timeout_s` is what a client may take to agree on TLS, and to part with it.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(_UNUSED_BYTES, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    timeout_s = None if tls is None else tls_timeout_s
    transport, _ = await loop.connect_accepted_socket(
        lambda: _InPieces(protocol),
        sock,
        ssl=tls,
        ssl_handshake_timeout=timeout_s,
        ssl_shutdown_timeout=timeout_s,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class _InPieces(asyncio.BufferedProtocol):
    """Hands on what comes; the loop fills the buffer and has it emptied in one go."""

    def __init__(self, inner: asyncio.StreamReaderProtocol) -> None:
        self._inner = inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait until the client has read something."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        self._inner.resume_writing()

    def eof_received(self) -> bool | None:
        """The client sends nothing more."""
        return self._inner.eof_received()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - what the loop thinks fit
        """Return where the next piece goes."""
        return _PIECE

    def buffer_updated(self, nbytes: int) -> None:
        """Take the piece that has come."""
        self._inner.data_received(bytes(_PIECE[:nbytes]))
