"""Frames on a link: a length, a checksum, a payload; no I/O here.

    | length: u32 big-endian | crc32: u32 big-endian | payload |

The checksum tells our frames from bytes that a task wrote to the wrong file descriptor.
"""

import struct
from typing import Final
from zlib import crc32

from vera_worker.errors import FrameError

_HEADER: Final = struct.Struct("!II")
HEADER_BYTES: Final = _HEADER.size


def encode_frame(payload: bytes) -> bytes:
    """Return `payload` as one frame."""
    return _HEADER.pack(len(payload), crc32(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into the payloads of its frames.

    `max_payload_bytes` is the largest payload taken; a longer one is refused as soon as its
    header is read, so a broken peer cannot make us buffer without end.
    """

    def __init__(self, max_payload_bytes: int) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take `data` from the stream and return the payloads it completes; raise FrameError."""
        buffer = self._buffer
        if not buffer and len(data) >= HEADER_BYTES:
            length, checksum = _HEADER.unpack_from(data)
            payload = data[HEADER_BYTES:]
            if length == len(payload) <= self._max_payload_bytes and crc32(payload) == checksum:
                return [payload]  # the usual case: one whole frame
        buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            length, checksum = _HEADER.unpack_from(buffer, start)
            if length > self._max_payload_bytes:
                raise FrameError(
                    f"a frame of {length} bytes exceeds the limit of {self._max_payload_bytes}"
                )
            end = start + HEADER_BYTES + length
            if len(buffer) < end:
                break
            payload = bytes(buffer[start + HEADER_BYTES : end])
            if crc32(payload) != checksum:
                raise FrameError("a frame does not match its checksum")
            payloads.append(payload)
            start = end
        del buffer[:start]
        return payloads

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that has not yet arrived whole; more than 0 at the end: a torn frame."""
        return len(self._buffer)
