"""Just enough of HTTP/1.1 to know where an answer ends: no socket, no loop."""

from typing import NamedTuple

END_OF_HEAD = b"\r\n\r\n"
WITHOUT_BODY = frozenset({204, 304})


class Answer(NamedTuple):
    """One whole answer, and whether its connection can carry another request."""

    status: int
    body: bytes
    keep_alive: bool


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """Build the bytes of a request; underscores in header names become hyphens."""
    lines = [f"{method} {target} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    if body:
        lines.append("content-type: application/json")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + END_OF_HEAD + body


def parse(data: bytes) -> Answer | None:
    """Return the answer that these bytes are, or None while some are missing."""
    end = data.find(END_OF_HEAD)
    if end < 0:
        return None
    head, start = data[:end].lower(), end + len(END_OF_HEAD)
    status = int(head[9:12])
    if status in WITHOUT_BODY:
        body: bytes | None = b""
    elif b"\r\ntransfer-encoding: chunked" in head:
        body = _chunked(data, start)
    else:
        body = _sized(data, start, _content_length(head))
    if body is None:
        return None
    return Answer(status, body, keep_alive=b"\r\nconnection: close" not in head)


def _content_length(head: bytes) -> int:
    name = b"\r\ncontent-length:"
    at = head.find(name)
    if at < 0:
        raise ValueError(f"an answer without length: {head!r}")
    return int(head[at + len(name) :].split(b"\r\n", 1)[0])


def _sized(data: bytes, start: int, size: int) -> bytes | None:
    return data[start : start + size] if len(data) >= start + size else None


def _chunked(data: bytes, start: int) -> bytes | None:
    body = b""
    while (line_end := data.find(b"\r\n", start)) >= 0:
        size = int(data[start:line_end].split(b";", 1)[0], 16)
        start = line_end + 2
        if len(data) < start + size + 2:
            return None
        if size == 0:
            return body
        body += data[start : start + size]
        start += size + 2
    return None
