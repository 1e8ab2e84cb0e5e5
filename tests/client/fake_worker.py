"""A worker that answers from a script: behind httpx's clients directly, or on a real port."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx


@dataclass(frozen=True)
class Reply:
    """One answer; a body that is no text is sent as JSON."""

    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        body = self.body
        return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    route: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def problem(status: int, detail: str, **headers: str) -> Reply:
    """Return what a worker says when it says no."""
    body = {"type": "about:blank", "title": "No", "status": status, "detail": detail}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(body | {"request_id": "r-1"}, status, named)


def line(reply: Reply | dict[str, Any]) -> dict[str, Any]:
    """Return a reply as it stands among others in the answer to many submissions."""
    if not isinstance(reply, Reply):
        reply = Reply(reply)
    more = {name.lower().replace("-", "_"): int(value) for name, value in reply.headers.items()}
    return {"code": reply.status} | reply.body | more


def lines(*replies: Reply | dict[str, Any]) -> Reply:
    """Return the answer to many submissions."""
    return Reply("".join(json.dumps(line(reply)) + "\n" for reply in replies))


def record(status: str = "completed", **fields: Any) -> dict[str, Any]:
    """Return a task's record as it travels."""
    payload = {"function": "add", "args": [1, 2], "kwargs": {"mode": "fast"}}
    return {
        "task_id": "t-1",
        "status": status,
        "payload": payload,
        "priority": "normal",
        "queued_at": "2025-01-15T10:00:00Z",
        "started_at": "2025-01-15T10:00:01Z",
        "completed_at": "2025-01-15T10:00:03.5Z" if status == "completed" else None,
        "result": 3 if status == "completed" else None,
        "error": None,
        "attempt": 1,
        "max_retries": 2,
        "worker_id": "w-1",
        "tags": [],
        "metadata": None,
        "progress": None,
        **fields,
    }


def failed(cause: str = "timeout", **failure: Any) -> dict[str, Any]:
    """Return the record of a task that failed."""
    error = "it took longer than 5 s"
    return record("failed", error=error, failure={"cause": cause, "message": error} | failure)


class FakeWorker:
    """Answers each route with its replies in turn, the last one again and again."""

    def __init__(self) -> None:
        self.url = "http://worker.test"
        self.asked: list[Asked] = []
        self._replies: dict[str, list[Reply | Exception]] = defaultdict(list)

    def on(self, route: str, *replies: Any) -> "FakeWorker":
        """Script `route`, e.g. "GET /health": replies, errors of httpx, or bodies of a 200."""
        known = (Reply, Exception)
        self._replies[route] = [r if isinstance(r, known) else Reply(r) for r in replies]
        return self

    def routes(self) -> list[str]:
        return [asked.route for asked in self.asked]

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        replies = self._replies[asked.route]
        if not replies:
            return problem(404, f"there is nothing at {asked.route}")
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def transport(self) -> httpx.MockTransport:
        """Return what stands for the network in a client."""
        return httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        reply = self.answer(
            Asked(
                f"{request.method} {request.url.raw_path.decode().partition('?')[0]}",
                dict(request.url.params),
                dict(request.headers),
                request.content,
            )
        )
        return httpx.Response(reply.status, headers=reply.headers, content=reply.content)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query))
        route = f"{self.command} {parts.path}"
        reply = self.server.fake.answer(Asked(route, query, headers, self.rfile.read(length)))
        self.send_response(reply.status)
        for name, value in (reply.headers | {"Content-Length": str(len(reply.content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content)

    do_POST = do_DELETE = do_GET  # noqa: N815 - http.server names them so

    def log_message(self, *_: Any) -> None:
        pass


class FakeServer(ThreadingHTTPServer):
    """A port with a FakeWorker behind it; `fake` may be exchanged between two tests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = FakeWorker()
        self._thread = Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def renewed(self) -> FakeWorker:
        self.fake = FakeWorker()
        self.fake.url = f"http://127.0.0.1:{self.server_port}"
        return self.fake

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that hang up."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
