"""Who may use the API: decided before a byte of the body is read, and before any route.

Without a token the API is open to this machine, but not to a web page in a browser on it. So the
Host must be one of ours (a page that rebinds its own name to 127.0.0.1 sends its own), and requests
that a browser marks as coming from another site are refused.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from vera_supervisor import access
from vera_supervisor.api.problems import Problem, body_of, headers_of, new_request_id
from vera_supervisor.api.sender import SENDER, Sender
from vera_supervisor.clock import SystemClock
from vera_supervisor.logs import LogThrottle

METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE"})
#: What answers without a token.
OPEN_PATHS: Final = ("/health", "/health/live", "/health/ready")

#: What can be configured to answer without a token.
METRICS_PATHS: Final = ("/metrics", "/metrics/prometheus")
#: What needs the scope `admin`, besides everything below /admin/.
_RULING: Final = ("/tasks/cancel", "/tasks/purge")

audit = logging.getLogger("vera_supervisor.audit")

#: A Host header: a name, and maybe a port.
_HOST: Final = re.compile(rb"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.IGNORECASE)

#: Who sent a request, where no token says so.
_ANYONE: Final = "anyone on this machine"
_NOBODY: Final = "nobody known"
_STRANGERS: Final = (_ANYONE, _NOBODY)
#: Characters of a path that are logged.
_LONGEST_PATH: Final = 200

_Headers: TypeAlias = dict[bytes, list[bytes]]


class Guard:
    """Lets a request through to the application, or answers with a problem and hangs up."""

    def __init__(
        self,
        app: ASGIFramework,
        *,
        credentials: tuple[access.Credential, ...] | None,
        allowed_hosts: Iterable[str],
        open_metrics: bool = False,
        methods_of: Callable[[str], Iterable[str]] = lambda _: METHODS,
        now: Callable[[], float] = SystemClock.now,
    ) -> None:
        self._app = app
        #: What the route of a path takes; nothing where there is none.
        self._methods_of = methods_of
        #: Whom to let in; None: everybody on this machine. A reload puts others here.
        self.credentials = credentials
        self._now = now
        self._refused = LogThrottle()
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._open_paths = OPEN_PATHS + (METRICS_PATHS if open_metrics else ())

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request."""
        problem = self.fault(scope)
        if scope_of(scope) is access.Scope.ADMIN:
            send = self._audited(scope, send, problem)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(problem, send)

    def _audited(
        self, scope: Any, send: ASGISendCallable, problem: Problem | None
    ) -> ASGISendCallable:
        """Have the answer to an administrative request logged."""
        who, count = self._who(scope), 1
        if problem is not None and who in _STRANGERS:
            # Whoever is not even let in must not be able to fill the disk with log lines.
            count = self._refused.due(self._now())
        address = (scope.get("client") or ("?",))[0]

        async def audited(event: Any) -> None:
            if event["type"] == "http.response.start":
                audit.info(
                    "%s %a by %s from %s: %d%s",
                    scope["method"], scope["path"][:_LONGEST_PATH], who, address, event["status"],
                    f", the last of {count} in a row" if count > 1 else "",
                )  # fmt: skip
            await send(event)

        return audited if count else send

    def _who(self, scope: Any) -> str:
        if self.credentials is None:
            return _ANYONE
        sent = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        found = access.find(_token_in(sent), self.credentials)
        return _NOBODY if found is None else f"token {found.name!r}"

    def fault(self, scope: Any) -> Problem | None:
        """Return why a request may not come in, or None."""
        headers: _Headers = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        if scope["method"] not in METHODS:
            detail = f"{scope['method']} is not for any route"
            allowed = sorted(self._methods_of(scope["path"])) or sorted(METHODS)
            return Problem(405, detail, headers={"allow": ", ".join(allowed)})
        if b"content-length" in headers and b"transfer-encoding" in headers:
            return Problem(400, "send Content-Length or Transfer-Encoding, not both")
        if b"upgrade" in headers or scope["http_version"] not in ("1.0", "1.1"):
            return Problem(400, "only HTTP/1.1 is spoken here; send no Upgrade header")
        if not scope["path"].startswith("/") or scope["path"].startswith("//"):
            # Quart would take the name of a host out of it and route by the rest.
            return Problem(400, "send a path as the target of the request, from its one / on")
        return self._wrong_host(headers) or _foreign_page(headers) or self._no_token(scope, headers)

    def _wrong_host(self, headers: _Headers) -> Problem | None:
        hosts = headers.get(b"host", [])
        if len(hosts) != 1:
            return Problem(400, "send exactly one Host header")
        if self.credentials is not None and not self._allowed_hosts:
            return None
        match = _HOST.fullmatch(hosts[0])
        name = "" if match is None else match[1].decode().lower().strip("[]")
        if name in self._allowed_hosts or access.is_loopback(name):
            return None
        return Problem(421, f"the host {name!r} is not served here; see server.allowed_hosts")

    def _no_token(self, scope: Any, headers: _Headers) -> Problem | None:
        if self.credentials is None or scope["path"] in self._open_paths:
            return None
        found = access.find(_token_in(headers.get(b"authorization", [])), self.credentials)
        if found is None:
            detail = "send Authorization: Bearer <token>; the worker's log says where it is"
            return Problem(401, detail, headers={"www-authenticate": "Bearer"})
        rules = found.may(access.Scope.ADMIN)
        one_for_all = rules and len(self.credentials) == 1
        SENDER.set(Sender(None if one_for_all else found.name, rules))
        needed = scope_of(scope)
        if not found.may(needed):
            return Problem(403, f"this needs a token with the scope {needed.value!r}")
        return None


def scope_of(request: Mapping[str, Any]) -> access.Scope:
    """Return what a token must be for, to send a request of that `method` and `path`."""
    path: str = request["path"]
    if path.startswith("/admin/") or path in _RULING:
        return access.Scope.ADMIN
    return access.Scope.READ if request["method"] in ("GET", "HEAD") else access.Scope.SUBMIT


def _token_in(authorization: list[bytes]) -> bytes:
    """Return the token that one such header holds; empty where there is none, or several."""
    scheme, _, token = authorization[0].partition(b" ") if len(authorization) == 1 else (b"",) * 3
    return token if scheme.lower() == b"bearer" else b""


def _foreign_page(headers: _Headers) -> Problem | None:
    site = headers.get(b"sec-fetch-site", [b"none"])
    if site not in ([b"none"], [b"same-origin"]):
        return Problem(403, "requests of other sites' pages are not taken")
    origins = headers.get(b"origin", [])
    if not origins:
        return None
    _, _, netloc = origins[0].partition(b"://")
    if len(origins) == 1 and [netloc] == headers.get(b"host"):
        return None
    return Problem(403, "requests of other sites' pages are not taken")


async def _refuse(problem: Problem, send: ASGISendCallable) -> None:
    body = body_of(problem, new_request_id())
    headers = [(k.encode(), v.encode()) for k, v in headers_of(problem).items()]
    headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
