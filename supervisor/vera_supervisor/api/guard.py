"""Who may come in: looked at before a byte of the body is read, and before any route.

Without a token the API is open to this machine, and a web page in a browser here must not use it:
so the Host must be one of ours (a page that rebinds its own name to 127.0.0.1 sends its own), and
requests that a browser marks as another site's are refused.
"""

import hashlib
import hmac
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from vera_supervisor.api.problems import Problem, body_of, headers_of, new_request_id

METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE"})
#: What answers without a token.
OPEN_PATHS: Final = ("/health", "/health/live", "/health/ready")

_Headers: TypeAlias = dict[bytes, list[bytes]]


def is_loopback(name: str) -> bool:
    """Return whether a host name or address means this machine alone."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets a request through to the application, or answers with a problem and hangs up."""

    def __init__(
        self, app: ASGIFramework, *, token: str | None, allowed_hosts: Iterable[str]
    ) -> None:
        self._app = app
        self._digest = None if token is None else _digest(token.encode())
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            problem = self.fault(scope)
            if problem is not None:
                await _refuse(problem, send)
                return
        await self._app(scope, receive, send)

    def fault(self, scope: Any) -> Problem | None:
        """Return why a request may not come in, or None."""
        headers: _Headers = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        if scope["method"] not in METHODS:
            return Problem(405, f"{scope['method']} is not for any route")
        if b"content-length" in headers and b"transfer-encoding" in headers:
            return Problem(400, "send Content-Length or Transfer-Encoding, not both")
        return (
            self._wrong_host(scope, headers)
            or _foreign_page(headers)
            or self._no_token(scope, headers)
        )

    def _wrong_host(self, scope: Any, headers: _Headers) -> Problem | None:
        hosts = headers.get(b"host", [])
        if len(hosts) != 1:
            return Problem(400, "send exactly one Host header")
        names = {_host_name(hosts[0])}
        if not scope["raw_path"].startswith(b"/"):  # absolute form: the target names a host too
            names.add(_host_name(urlsplit(scope["raw_path"]).netloc))
        if self._allowed_hosts:
            strangers = {name for name in names if name not in self._allowed_hosts}
        elif self._digest is None:
            strangers = {name for name in names if not is_loopback(name)}
        else:
            return None
        if strangers:
            detail = f"{min(strangers)!r} is not served here; see server.allowed_hosts"
            return Problem(421, detail)
        return None

    def _no_token(self, scope: Any, headers: _Headers) -> Problem | None:
        if self._digest is None or scope["path"] in OPEN_PATHS:
            return None
        sent = headers.get(b"authorization", [])
        scheme, _, token = sent[0].partition(b" ") if len(sent) == 1 else (b"", b"", b"")
        if scheme.lower() == b"bearer" and hmac.compare_digest(_digest(token), self._digest):
            return None
        return Problem(401, "send Authorization: Bearer <token>; the worker's log says where it is")


def _foreign_page(headers: _Headers) -> Problem | None:
    site = headers.get(b"sec-fetch-site", [b"none"])
    if site not in ([b"none"], [b"same-origin"]):
        return Problem(403, "requests of other sites' pages are not taken")
    origins = headers.get(b"origin", [])
    if not origins:
        return None
    netloc = urlsplit(origins[0]).netloc
    if len(origins) == 1 and netloc and [netloc] == headers.get(b"host"):
        return None
    return Problem(403, "requests of other sites' pages are not taken")


def _host_name(header: bytes) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return (urlsplit(b"//" + header).hostname or b"").decode("ascii")
    except ValueError:
        return ""


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


async def _refuse(problem: Problem, send: ASGISendCallable) -> None:
    body = body_of(problem, new_request_id())
    headers = [(k.encode(), v.encode()) for k, v in headers_of(problem).items()]
    headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
