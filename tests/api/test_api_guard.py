"""Who may come in, asked of the guard itself."""

import asyncio
import logging
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.fake_clock import FakeClock
from vera_supervisor.access import Credential, Scope, credential, digest, is_loopback
from vera_supervisor.api.guard import Guard
from vera_supervisor.api.sender import SENDER, Sender

TOKEN = "a-token-of-some-length"


async def _no_app(*_: object) -> None:
    raise AssertionError


def status(
    *headers: tuple[bytes, bytes],
    token: str | None = TOKEN,
    allowed_hosts: tuple[str, ...] = (),
    method: str = "GET",
    path: str = "/tasks",
) -> int | None:
    """Return the status of the refusal, or None for a request that may come in."""
    known = None if token is None else (credential(token),)
    guard = Guard(_no_app, credentials=known, allowed_hosts=allowed_hosts)
    scope: dict[str, Any] = {
        "http_version": "1.1",
        "method": method,
        "path": path,
        "headers": list(headers),
    }
    problem = guard.fault(scope)
    return None if problem is None else problem.status


HOST = (b"host", b"localhost:5000")


def bearer(token: bytes) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + token)


def test_the_token_opens() -> None:
    assert status(HOST, bearer(TOKEN.encode())) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", TOKEN.encode())],
        [(b"authorization", b"Basic " + TOKEN.encode())],
        [bearer(b"")],
        [bearer(b" a-token")],
        [bearer(b"a-token ")],
        [bearer("a-tökén".encode())],
        [bearer(b"\xff\xfe\x00")],
        [bearer(b"x" * 1_000_000)],
        [bearer(TOKEN.encode() * 2)],
        [bearer(TOKEN.encode()), bearer(TOKEN.encode())],
    ],
)
def test_nothing_else_opens(headers: list[tuple[bytes, bytes]]) -> None:
    assert status(HOST, *headers) == 401
    assert status(HOST, *headers, method="DELETE") == 401


@given(st.binary(max_size=40))
def test_no_authorization_is_a_fault(value: bytes) -> None:
    assert status(HOST, (b"authorization", value)) in (401, None)
    assert (status(HOST, (b"authorization", value)) is None) == (
        value.lower().startswith(b"bearer ") and value[7:] == TOKEN.encode()
    )


@given(st.binary(max_size=40))
def test_no_host_or_origin_is_a_fault(value: bytes) -> None:
    assert status((b"host", value), token=None) in (421, None)
    assert status((b"host", b"localhost"), (b"origin", value), token=None) in (403, None)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_every_method_is_guarded(method: str) -> None:
    assert status((b"host", b"evil.example"), token=None, method=method) == 421
    foreign = (b"origin", b"http://evil.example")
    assert status(HOST, foreign, token=None, method=method) == 403
    assert status(HOST, method=method) == 401


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", ""]
)
def test_methods_are_listed(method: str) -> None:
    assert status(HOST, token=None, method=method) == 405


def test_allowed_hosts_come_beside_those_of_loopback() -> None:
    for token, headers in ((None, ()), (TOKEN, (bearer(TOKEN.encode()),))):
        for host, expected in (
            (b"node-7.example:5000", None),
            (b"NODE-7.example", None),
            (b"127.0.0.1", None),
            (b"[::1]:80", None),
            (b"node-7.example.evil", 421),
            (b"evil.example", 421),
        ):
            found = status(
                (b"host", host), *headers, token=token, allowed_hosts=("Node-7.example",)
            )
            assert found == expected, host


def test_with_a_token_any_host_is_taken() -> None:
    assert status((b"host", b"10.1.2.3:5000"), bearer(TOKEN.encode())) is None


def test_an_empty_token_never_opens() -> None:
    assert status(HOST, bearer(b"")) == 401
    assert status(HOST, (b"authorization", b"Bearer")) == 401


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("127.0.0.1.example", False),
        ("notlocalhost", False),
        ("localhost.example", False),
        ("128.0.0.1", False),
        ("", False),
    ],
)
def test_what_is_this_machine_alone(name: str, expected: bool) -> None:
    assert is_loopback(name) is expected


def test_refused_strangers_fill_no_log_and_nobody_else_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ignored(_: object) -> None:
        pass

    guard: Any = Guard(app, credentials=(credential(TOKEN),), allowed_hosts=(), now=clock.now)

    def admin(*headers: tuple[bytes, bytes]) -> None:
        scope = {"http_version": "1.1", "method": "POST", "path": "/admin/" + "x" * 1000}
        asyncio.run(guard(scope | {"headers": [HOST, *headers]}, ignored, ignored))

    with caplog.at_level(logging.INFO, "vera_supervisor.audit"):
        for _ in range(100):
            admin()
        admin(bearer(TOKEN.encode()))
        admin(bearer(TOKEN.encode()), (b"origin", b"http://evil"))
        clock.pass_time(10)
        admin()
    path = f"POST '/admin/{'x' * 193}'"
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} by nobody known from ?: 401",
        f"{path} by token 'token' from ?: 200",
        f"{path} by token 'token' from ?: 403",
        f"{path} by nobody known from ?: 401, the last of 100 in a row",
    ]


def test_who_sends_is_known_by_name_unless_one_token_is_for_everything() -> None:
    """What was submitted before there were tokens must not belong to the first one that is."""
    ruler = credential("ruler")
    ci = Credential("ci", digest(b"ci"), frozenset({Scope.SUBMIT}))

    def sender(token: bytes, *known: Credential) -> Sender:
        guard = Guard(_no_app, credentials=known, allowed_hosts=())
        scope = {"http_version": "1.1", "method": "POST", "path": "/task/submit"}

        def sent() -> Sender:
            assert guard.fault(scope | {"headers": [HOST, bearer(token)]}) is None
            return SENDER.get()

        return copy_context().run(sent)

    assert sender(b"ruler", ruler) == Sender(None, rules=True)
    assert sender(b"ruler", ruler, ci) == Sender("token", rules=True)
    assert sender(b"ci", ruler, ci) == sender(b"ci", ci) == Sender("ci", rules=False)
