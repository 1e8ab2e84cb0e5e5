"""What is no plain HTTP/1.1 from this machine is refused, and the connection with it (A2)."""

from collections.abc import Iterator

import pytest

from tests.support.http_answers import assert_problem, connect, exchange, host_of, read_to_end
from tests.support.worker_process import WorkerProcess, worker

pytestmark = pytest.mark.system

SECOND = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
SUBMISSION = b'{"task_id":"smuggled","payload":{"function":"noop"}}'
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /task/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
DELETE = b"DELETE /task/x HTTP/1.1\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
WEBSOCKET = (
    b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SUBMISSION), SUBMISSION)
LENGTH = b"Content-Length: %d\r\n" % len(SUBMISSION)

REFUSED = {
    "length and chunks": (POST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, 400),
    "two lengths": (POST + LENGTH + b"Content-Length: 5\r\n\r\n" + SUBMISSION, 400),
    "a list of lengths": (POST + b"Content-Length: 52, 5\r\n\r\n" + SUBMISSION, 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a signed length": (POST + b"Content-Length: +52\r\n\r\n" + SUBMISSION, 400),
    "an unknown encoding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS, 400),
    "an encoding with a blank": (POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS, 400),
    "CONNECT": (b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n", 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "an invented method": (b"SUBMIT /task/submit HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "upgrade to HTTP/2": (GET + UPGRADE, 400),
    "upgrade with a body": (POST + LENGTH + UPGRADE + SUBMISSION, 400),
    "upgrade to a WebSocket": (GET + WEBSOCKET, 400),
    "upgrade without Connection": (GET + b"Upgrade: h2c\r\n\r\n", 400),
    "HTTP/2 prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 405),
    "HTTP/3": (b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 400),
    "two hosts": (GET + b"Host: localhost\r\n\r\n", 400),
    "two hosts, one foreign": (GET + b"Host: evil.example\r\n\r\n", 400),
    "no host": (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
    "no host, HTTP/1.0": (b"GET /health/live HTTP/1.0\r\n\r\n", 400),
    "an empty host": (b"GET /health/live HTTP/1.1\r\nHost: \r\n\r\n", 421),
    "a foreign host": (b"GET /health/live HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "a foreign host, DELETE": (DELETE + b"Host: evil.example:5000\r\n\r\n", 421),
    "a foreign host, HEAD": (b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    "a host like ours": (DELETE + b"Host: localhost.evil.example\r\n\r\n", 421),
    "a host with a name before it": (DELETE + b"Host: evil@localhost\r\n\r\n", 421),
    "a host with a path": (DELETE + b"Host: localhost/evil\r\n\r\n", 421),
    "a host in brackets": (DELETE + b"Host: [evil]\r\n\r\n", 421),
    "a torn host": (DELETE + b"Host: [::1\r\n\r\n", 421),
    "a host beyond ASCII": (DELETE + b"Host: localh\xf6st\r\n\r\n", 421),
    "the absolute form": (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "the absolute form, foreign": (b"GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "the absolute form, torn": (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a target that is no path": (b"GET health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a foreign page": (GET + b"Origin: http://evil.example\r\n\r\n", 403),
    "a foreign page, DELETE": (DELETE + b"Host: localhost\r\nOrigin: http://evil\r\n\r\n", 403),
    "a page without origin": (GET + b"Origin: null\r\n\r\n", 403),
    "a torn origin": (GET + b"Origin: http://[\r\n\r\n", 403),
    "an origin like ours": (GET + b"Origin: http://localhost.evil\r\n\r\n", 403),
    "another port's page": (GET + b"Origin: http://localhost:8080\r\n\r\n", 403),
    "two origins": (GET + b"Origin: http://localhost\r\nOrigin: http://localhost\r\n\r\n", 403),
    "cross-site": (GET + b"Sec-Fetch-Site: cross-site\r\n\r\n", 403),
    "same-site": (GET + b"Sec-Fetch-Site: same-site\r\n\r\n", 403),
    "cross-site, DELETE": (DELETE + b"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403),
    "a preflight": (b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n", 405),
    "a bare carriage return": (b"GET /health/live HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n", 400),
    "a zero byte in a header": (GET + b"X: a\0b\r\n\r\n", 400),
    "a blank in the target": (b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "a raw byte in the target": (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", 400),
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """Run a worker that wants a token."""
    with worker(tmp_path_factory.mktemp("guarded"), WORKER_TOKEN="s3cret") as running:
        yield running
        assert "Traceback" not in running.log.read_text()
        assert "s3cret" not in running.log.read_text()


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_and_hung_up_on(node: WorkerProcess, name: str) -> None:
    sent, status = REFUSED[name]
    answers = exchange(node.url, sent + SECOND)
    assert len(answers) == 1
    assert answers[0].headers["connection"] == "close"
    if sent.startswith(b"HEAD"):
        assert (answers[0].status, answers[0].body) == (status, b"")
    else:
        assert_problem(answers[0], status)
    assert node.client.get("/task/smuggled").status_code == 404


def test_a_broken_chunk_ends_in_one_answer(node: WorkerProcess) -> None:
    sent = POST + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":XX\r\n0\r\n\r\n'
    [answer] = exchange(node.url, sent + SECOND)
    assert_problem(answer, 400)


def test_our_own_pages_may_come_in(node: WorkerProcess) -> None:
    host = host_of(node.url)
    sent = b"GET /health/live HTTP/1.1\r\nHost: %b\r\nOrigin: http://%b\r\n" % (host, host)
    sent += b"Sec-Fetch-Site: same-origin\r\nConnection: close\r\n\r\n"
    assert [answer.status for answer in exchange(node.url, sent)] == [200]


@pytest.mark.parametrize(
    "host",
    [b"localhost", b"LOCALHOST:1", b"127.0.0.1:80", b"127.9.9.9", b"[::1]:5000", b"a.localhost"],
)
def test_this_machine_has_many_names(node: WorkerProcess, host: bytes) -> None:
    sent = b"GET /health/live HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host
    assert [answer.status for answer in exchange(node.url, sent)] == [200]


def test_pipelined_requests_are_answered_in_order(node: WorkerProcess) -> None:
    last = GET + b"Connection: close\r\n\r\n"
    ready = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert [a.status for a in exchange(node.url, SECOND + ready + last)] == [200, 404, 200]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"//health", 400),
        (b"//evil.example/health", 400),
        (b"/%2fevil.example/health", 400),
        (b"/health//live", 404),
        (b"/task//x", 404),
    ],
)
def test_two_slashes_lead_nowhere(node: WorkerProcess, path: bytes, status: int) -> None:
    sent = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path
    [answer] = exchange(node.url, sent)
    assert_problem(answer, status)
    assert "location" not in answer.headers


def test_an_answer_before_the_whole_body_says_that_it_is_the_last(node: WorkerProcess) -> None:
    with connect(node.url) as connection:
        connection.sendall(
            b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        )
        [answer] = read_to_end(connection)
    assert_problem(answer, 404)
    assert answer.headers["connection"] == "close"


def test_no_body_is_waited_for_without_a_token(guarded: WorkerProcess) -> None:
    with connect(guarded.url) as connection:
        connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        [answer] = read_to_end(connection)
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_body_that_is_held_back_is_asked_for_once_the_token_was_looked_at(
    guarded: WorkerProcess,
) -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(SUBMISSION)
    with connect(guarded.url) as connection:
        connection.sendall(head + b"\r\n")
        [answer] = read_to_end(connection)
    assert_problem(answer, 401)
    with connect(guarded.url) as connection:
        connection.sendall(head + b"Authorization: Bearer s3cret\r\nConnection: close\r\n\r\n")
        asked = connection.recv(1000)
        assert asked == b"HTTP/1.1 100 \r\n\r\n"
        connection.sendall(SUBMISSION)
        [answer] = read_to_end(connection)
    assert answer.status == 202


AUTHORIZATIONS = {
    "none": b"",
    "empty": b"Authorization: \r\n",
    "no token": b"Authorization: Bearer\r\n",
    "wrong": b"Authorization: Bearer s3cre\r\n",
    "longer": b"Authorization: Bearer s3crett\r\n",
    "basic": b"Authorization: Basic czNjcmV0Og==\r\n",
    "beyond ASCII": b"Authorization: Bearer s3cr\xe9t\r\n",
    "not UTF-8": b"Authorization: Bearer \xff\xfe\r\n",
    "twice": b"Authorization: Bearer s3cret\r\nAuthorization: Bearer s3cret\r\n",
    "in another header": b"X-Authorization: Bearer s3cret\r\n",
}


@pytest.mark.parametrize("name", list(AUTHORIZATIONS))
@pytest.mark.parametrize(
    "line",
    [b"GET /tasks", b"HEAD /tasks", b"POST /task/submit", b"DELETE /task/x", b"GET /nothing",
     b"GET /metrics/prometheus", b"POST /admin/drain", b"GET /tasks?token=s3cret", b"GET /health/",
     b"GET /health/../tasks", b"GET /health%2f..%2ftasks", b"GET /health;/tasks"],
)  # fmt: skip
def test_nothing_without_the_token(guarded: WorkerProcess, line: bytes, name: str) -> None:
    sent = line + b" HTTP/1.1\r\nHost: worker.example\r\n" + AUTHORIZATIONS[name] + b"\r\n"
    [answer] = exchange(guarded.url, sent + SECOND)
    assert answer.status == 401
    if not line.startswith(b"HEAD"):
        assert_problem(answer, 401)


def test_a_token_of_a_megabyte(guarded: WorkerProcess) -> None:
    sent = GET.replace(b"/health/live", b"/tasks") + b"Authorization: Bearer "
    with connect(guarded.url) as connection:
        connection.sendall(sent + b"x" * 20_000)
        [answer] = read_to_end(connection)
    assert_problem(answer, 431)


@pytest.mark.parametrize("host", [b"localhost", b"worker.example"])
@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_the_token_opens_under_any_name(guarded: WorkerProcess, host: bytes, scheme: bytes) -> None:
    sent = b"GET /tasks HTTP/1.1\r\nHost: %b\r\nAuthorization: %b s3cret\r\n" % (host, scheme)
    assert [a.status for a in exchange(guarded.url, sent + b"Connection: close\r\n\r\n")] == [200]


@pytest.mark.parametrize("path", [b"/health", b"/health/live", b"/health/ready"])
def test_health_needs_no_token(guarded: WorkerProcess, path: bytes) -> None:
    sent = b"GET %b HTTP/1.1\r\nHost: worker.example\r\nConnection: close\r\n\r\n" % path
    assert [a.status for a in exchange(guarded.url, sent)] == [200]
