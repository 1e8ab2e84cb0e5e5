"""Every route x method x credential x origin: a route that is not listed here fails the test."""

from itertools import product
from typing import Any, Final, cast

import pytest
from quart import Quart

from vera_supervisor.access import Credential, Scope, digest
from vera_supervisor.api.app import create_app
from vera_supervisor.api.guard import Guard
from vera_supervisor.api.services import Services
from vera_supervisor.config import Config

#: What a token must be for, by method and route; None: for nothing, none is needed.
ROUTES: Final[dict[tuple[str, str], Scope | None]] = {
    ("GET", "/health"): None,
    ("GET", "/health/live"): None,
    ("GET", "/health/ready"): None,
    ("GET", "/metrics"): Scope.READ,
    ("GET", "/metrics/prometheus"): Scope.READ,
    ("GET", "/"): Scope.READ,
    ("GET", "/docs"): Scope.READ,
    ("GET", "/openapi.json"): Scope.READ,
    ("GET", "/functions"): Scope.READ,
    ("GET", "/capabilities"): Scope.READ,
    ("GET", "/events"): Scope.READ,
    ("GET", "/tasks"): Scope.READ,
    ("GET", "/task/<task_id>"): Scope.READ,
    ("GET", "/task/<task_id>/events"): Scope.READ,
    ("GET", "/task/<task_id>/output"): Scope.READ,
    ("POST", "/task/submit"): Scope.SUBMIT,
    ("POST", "/tasks"): Scope.SUBMIT,
    ("POST", "/execute"): Scope.SUBMIT,
    ("POST", "/task/<task_id>/retry"): Scope.SUBMIT,
    ("DELETE", "/task/<task_id>"): Scope.SUBMIT,
    ("POST", "/tasks/cancel"): Scope.ADMIN,
    ("POST", "/tasks/purge"): Scope.ADMIN,
    ("POST", "/admin/drain"): Scope.ADMIN,
    ("POST", "/admin/resume"): Scope.ADMIN,
    ("POST", "/admin/reload"): Scope.ADMIN,
    ("GET", "/admin/config"): Scope.ADMIN,
}
METHODS: Final = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW")
TAKEN: Final = {"GET", "HEAD", "POST", "DELETE"}
TOKENS: Final = {scope.value: frozenset({scope}) for scope in Scope} | {"none": None, "wrong": None}
#: Headers, and what is answered to them whoever sends them; None: they are no matter.
ORIGINS: Final[dict[str, tuple[list[tuple[bytes, bytes]], int | None]]] = {
    "no page": ([], None),
    "own page": ([(b"origin", b"http://localhost"), (b"sec-fetch-site", b"same-origin")], None),
    "foreign origin": ([(b"origin", b"https://evil.example")], 403),
    "null origin": ([(b"origin", b"null")], 403),
    "foreign site": ([(b"sec-fetch-site", b"cross-site")], 403),
    "same site": ([(b"sec-fetch-site", b"same-site")], 403),
}
KNOWN: Final = tuple(
    Credential(name, digest(name.encode()), scopes) for name, scopes in TOKENS.items() if scopes
)


async def _no_app(*_: object) -> None:
    raise AssertionError


def application() -> Quart:
    """Return the application with all its routes and no worker behind them."""
    services = cast("Any", object.__new__(Services))
    services.config = Config()
    for name in ("dispatcher", "store", "metrics", "host", "catalogue"):
        setattr(services, name, _Anything())
    return create_app(services)


def routes_of_the_application() -> set[tuple[str, str]]:
    """Return method and rule of every route."""
    return {
        (method, rule.rule)
        for rule in application().url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return _Anything()


def test_every_route_is_in_the_table() -> None:
    assert routes_of_the_application() == set(ROUTES)


def _fault(
    method: str, route: str, token: str, origin: str, guard: Guard, *, host: bytes = b"localhost"
) -> int | None:
    headers = [(b"host", host), *ORIGINS[origin][0]]
    if token != "none":
        headers.append((b"authorization", b"Bearer " + token.encode()))
    path = route.replace("<task_id>", "some-task")
    problem = guard.fault(
        {"http_version": "1.1", "method": method, "path": path, "headers": headers}
    )
    return None if problem is None else problem.status


@pytest.mark.parametrize("route", sorted({route for _, route in ROUTES}))
def test_who_may_do_what(route: str) -> None:
    guard = Guard(_no_app, credentials=KNOWN, allowed_hosts=())
    for method, token, origin in product(METHODS, TOKENS, ORIGINS):
        found = _fault(method, route, token, origin, guard)
        needed = ROUTES.get(("GET" if method == "HEAD" else method, route), "absent")
        if method not in TAKEN:
            expected: int | None = 405
        elif ORIGINS[origin][1] is not None:
            expected = ORIGINS[origin][1]
        elif needed is None or route.startswith("/health"):
            expected = None
        elif token in ("none", "wrong"):
            expected = 401
        elif (
            needed == "absent"
        ):  # no such route: what is refused is not told apart from what is not there
            assert found in (None, 403), (method, route, token, origin)
            continue
        else:
            expected = None if token in (needed, Scope.ADMIN) else 403
        assert found == expected, (method, route, token, origin)


@pytest.mark.parametrize("route", sorted({route for _, route in ROUTES}))
def test_without_tokens_the_api_is_open_to_this_machine_and_to_no_page(route: str) -> None:
    guard = Guard(_no_app, credentials=None, allowed_hosts=())
    for method, origin in product(TAKEN, ORIGINS):
        assert _fault(method, route, "none", origin, guard) == ORIGINS[origin][1]


@pytest.mark.parametrize("route", sorted({route for _, route in ROUTES}))
def test_no_route_is_served_under_a_foreign_name(route: str) -> None:
    """S1: where the API is open, and where `server.allowed_hosts` says what it is called."""
    for credentials, allowed in ((None, ()), (None, ("node-7",)), (KNOWN, ("node-7",))):
        guard = Guard(_no_app, credentials=credentials, allowed_hosts=allowed)
        for method, token, origin in product(METHODS, TOKENS, ORIGINS):
            found = _fault(method, route, token, origin, guard, host=b"evil.example")
            assert found == (421 if method in TAKEN else 405), (method, route, token, origin)


def test_metrics_can_be_opened_to_all() -> None:
    guard = Guard(_no_app, credentials=KNOWN, allowed_hosts=(), open_metrics=True)
    for route in ("/metrics", "/metrics/prometheus"):
        assert _fault("GET", route, "none", "no page", guard) is None
    assert _fault("GET", "/tasks", "none", "no page", guard) == 401
