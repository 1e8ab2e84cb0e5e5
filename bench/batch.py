"""One NDJSON batch over one raw connection: sent and answered at the same time, at little cost."""

import selectors
import socket
import time
from dataclasses import dataclass
from typing import Final

from bench.answer import END_OF_HEAD, parse

STALL_S: Final = 20.0
PIECE_BYTES: Final = 1 << 16
END: Final = b"0\r\n\r\n"


@dataclass(frozen=True)
class Batch:
    """What came of a batch; the answers are one line per task, in order."""

    elapsed_s: float
    client_cpu: float
    """Cores that the sender itself used."""

    answers: list[bytes]


def send_batch(port: int, target: str, lines: bytes) -> Batch:
    """POST the lines as a stream, and return when the last answer is there."""
    head = (
        f"POST {target} HTTP/1.1\r\nhost: localhost\r\n"
        "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    unsent = memoryview(head.encode() + _chunked(lines))
    received: list[bytes] = []
    with (
        socket.create_connection(("127.0.0.1", port), timeout=STALL_S) as sock,
        selectors.DefaultSelector() as selector,
    ):
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        cpu, began = time.process_time(), time.perf_counter()
        while not received or not received[-1].endswith(END):
            ready = selector.select(STALL_S)
            if not ready:
                raise TimeoutError(f"no answer for {STALL_S:g} s")
            if ready[0][1] & selectors.EVENT_WRITE:
                unsent = unsent[sock.send(unsent[: 4 * PIECE_BYTES]) :]
                if not unsent:
                    selector.modify(sock, selectors.EVENT_READ)
            if ready[0][1] & selectors.EVENT_READ:
                piece = sock.recv(PIECE_BYTES)
                if not piece:
                    break
                received.append(piece)
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Batch(elapsed, cpu / elapsed, _answers(b"".join(received)))


def _chunked(lines: bytes) -> bytes:
    pieces = [lines[i : i + PIECE_BYTES] for i in range(0, len(lines), PIECE_BYTES)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + END


def _answers(data: bytes) -> list[bytes]:
    answer = parse(data)
    if answer is None or answer.status != 200:
        raise ValueError(f"no whole answer: {data[: data.find(END_OF_HEAD) + 500]!r}")
    return answer.body.splitlines()
