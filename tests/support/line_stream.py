"""A client that sends lines and reads answers on one connection, at the same time."""

import json
import socket
import struct
from types import TracebackType
from typing import Any, Self

from tests.support.http_answers import connect, host_of

#: SO_LINGER with no time: close() sends a reset.
_RESET = struct.pack("ii", 1, 0)


class LineStream:
    """POST /tasks as a stream of unknown length."""

    def __init__(self, url: str, query: str = "", timeout_s: float = 30.0) -> None:
        self.socket = connect(url, timeout_s)
        self.socket.sendall(
            b"POST /tasks%b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" % (query.encode(), host_of(url))
        )
        self._file = self.socket.makefile("rb")
        self._answered = False
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self.socket.close()

    def send(self, *lines: bytes) -> None:
        """Send whole lines in one piece."""
        body = b"".join(line + b"\n" for line in lines)
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(body), body))

    def end(self) -> None:
        """Say that there are no more."""
        self.socket.sendall(b"0\r\n\r\n")

    def answer(self) -> Any:
        """Return the next line of the answer; None after the last."""
        if not self._answered:
            assert self._file.readline().startswith(b"HTTP/1.1 200")
            while self._file.readline().strip():
                pass
            self._answered = True
        while b"\n" not in self._rest:
            size = int(self._file.readline() or b"0", 16)
            self._rest += self._file.read(size)
            self._file.readline()
            if not size:
                assert not self._rest
                return None
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def answers(self) -> list[Any]:
        """Return all lines that are left."""
        return list(iter(self.answer, None))

    def reset(self) -> None:
        """Hang up as a client does that crashes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
