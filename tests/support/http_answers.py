"""What answers of the API have to look like, and what raw bytes are answered with."""

import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL)


class Answer(NamedTuple):
    """One answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def assert_problem(
    answer: httpx.Response | Answer, status: int, field: str | None = None
) -> dict[str, Any]:
    """Assert that an answer is a problem of that status, and return it decoded."""
    body = answer.content if isinstance(answer, httpx.Response) else answer.body
    code = answer.status_code if isinstance(answer, httpx.Response) else answer.status
    assert code == status, body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem: dict[str, Any] = json.loads(body)
    expected = {"type", "title", "status", "detail", "request_id"}
    assert set(problem) - {"field"} == expected
    assert problem["status"] == status
    assert problem["type"].startswith("urn:vera-worker:")
    assert problem["title"]
    assert re.fullmatch("[0-9a-f]{16}", problem["request_id"])
    assert len(problem["detail"]) > 5
    assert "\n" not in problem["detail"]
    assert problem.get("field") == field, problem
    return problem


def connect(url: str, timeout_s: float = 30.0) -> socket.socket:
    """Return a connection to a worker."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port), timeout_s)


def host_of(url: str) -> bytes:
    """Return what a client sends as Host."""
    return urlsplit(url).netloc.encode()


def exchange(url: str, sent: bytes) -> list[Answer]:
    """Send bytes and return all that is answered until the worker hangs up."""
    with connect(url) as connection:
        connection.sendall(sent)
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> list[Answer]:
    """Return all answers until the worker hangs up; a worker that does not is a TimeoutError."""
    received = b""
    with suppress(ConnectionResetError):  # it hung up on what we still had to say
        while piece := connection.recv(65536):
            received += piece
    return _parsed(received)


def _parsed(received: bytes) -> list[Answer]:
    answers = []
    while received:
        head = _HEAD.match(received)
        assert head is not None, received
        lines = head[2].decode("ascii").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        end = head.end() + int(headers.get("content-length", "0"))
        answers.append(Answer(int(head[1]), headers, received[head.end() : end]))
        received = received[end:]
    return answers
