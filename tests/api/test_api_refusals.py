"""Whatever a client sends, it gets a documented refusal, and nothing of it is queued (A7, S4)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.http_answers import assert_problem
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

SETTINGS = {"MAX_WORKERS": "1"}
JSON = {"content-type": "application/json"}
MAX_BODY = 2**20


def call(argument: bytes) -> bytes:
    return b'{"payload":{"function":"echo","args":[' + argument + b"]}}"


def asking(**fields: Any) -> bytes:
    return json.dumps({"payload": {"function": "noop"}} | fields).encode()


def payload(**fields: Any) -> bytes:
    return json.dumps({"payload": fields}).encode()


#: name -> (body, status, field)
NOT_JSON = {
    "empty": (b"", 400, None),
    "blank": (b" \r\n", 400, None),
    "torn": (b'{"payload":', 400, None),
    "two": (asking() * 2, 400, None),
    "single quotes": (b"{'payload':1}", 400, None),
    "comment": (b"/**/" + asking(), 400, None),
    "byte order mark": (b"\xef\xbb\xbf" + asking(), 400, None),
    "utf-16": (asking().decode().encode("utf-16"), 400, None),
    "utf-32": (asking().decode().encode("utf-32-le"), 400, None),
    "not a number": (call(b"NaN"), 400, None),
    "infinity": (call(b"-Infinity"), 400, None),
    "leading zero": (call(b"01"), 400, None),
    "raw zero byte": (call(b'"\0"'), 400, None),
    "raw line feed": (call(b'"\n"'), 400, None),
    "invalid utf-8": (call(b'"\xff"'), 400, "payload"),
    "surrogate in utf-8": (call(b'"\xed\xa0\x80"'), 400, "payload"),
    "overlong slash": (call(b'"\xc0\xaf"'), 400, "payload"),
    "lone surrogate": (call(b'"\\ud800"'), 400, None),
    "lone low surrogate": (call(b'"\\udc00x"'), 400, None),
    "surrogate in a key": (b'{"payload":{"function":"echo","kwargs":{"\\ud800":1}}}', 400, None),
}
TOO_MUCH = {
    "deep list": (call(b"[" * 100_000 + b"]" * 100_000), 422, None),
    "deep object": (call(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), 422, None),
    "deep and torn": (call(b"[" * 100_000), 422, None),
    "deep metadata": (
        b'{"payload":{"function":"noop"},"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        422,
        None,
    ),
    "5000 digits": (call(b"9" * 5000), 422, "payload.args[0]"),
    "huge float": (call(b"1e400"), 422, "payload.args[0]"),
}
NOT_ACCEPTABLE = {
    "null": (b"null", 422, None),
    "list": (b"[]", 422, None),
    "string": (b'"x"', 422, None),
    "number": (b"1", 422, None),
    "empty object": (b"{}", 422, "payload"),
    "payload is null": (asking(payload=None), 422, "payload"),
    "payload is a list": (asking(payload=[]), 422, "payload"),
    "no function": (payload(args=[]), 422, "payload.function"),
    "function is null": (payload(function=None), 422, "payload.function"),
    "function is empty": (payload(function=""), 422, "payload.function"),
    "unknown function": (payload(function="nobody"), 422, "payload.function"),
    "args is an object": (payload(function="echo", args={}), 422, "payload.args"),
    "args is null": (payload(function="echo", args=None), 422, "payload.args"),
    "kwargs is a list": (payload(function="echo", kwargs=[]), 422, "payload.kwargs"),
    "too few arguments": (payload(function="sleep"), 422, "payload.args"),
    "too many arguments": (payload(function="noop", args=[1]), 422, "payload.args"),
    "unknown argument": (payload(function="noop", kwargs={"x": 1}), 422, "payload.args"),
    "argument twice": (
        payload(function="sleep", args=[1], kwargs={"seconds": 1}), 422, "payload.args",
    ),
    "unknown field in payload": (payload(function="noop", code="1+1"), 422, "payload.code"),
    "unknown field in payload too": (
        payload(function="noop", module="os"), 422, "payload.module",
    ),
    "key twice": (b'{"payload":{"function":"noop"},"payload":{"function":"noop"}}', 422, "payload"),
    "key twice inside": (b'{"payload":{"function":"noop","function":"echo"}}', 422, "function"),
    "key twice, one disguised": (
        b'{"payload":{"function":"echo","kwargs":{"a":"\\u003a","\\u0061":1}}}', 422, "a",
    ),
    "key twice in a kwarg": (call(b'{"x":[{"y":1,"y":1}]}'), 422, "y"),
}  # fmt: skip
ENVELOPE = {
    "unknown field": (asking(task="x"), 422, "task"),
    "unknown priority": (asking(priority="urgent"), 422, "priority"),
    "priority of another case": (asking(priority="HIGH"), 422, "priority"),
    "priority is a number": (asking(priority=1), 422, "priority"),
    "timeout is zero": (asking(timeout=0), 422, "timeout"),
    "timeout is text": (asking(timeout="1"), 422, "timeout"),
    "timeout is too long": (asking(timeout=86401), 422, "timeout"),
    "timeout is a bool": (asking(timeout=True), 422, "timeout"),
    "delay is negative": (asking(delay=-1), 422, "delay"),
    "delay is too long": (asking(delay=1e300), 422, "delay"),
    "delay and run_at": (asking(delay=1, run_at="2030-01-01T00:00:00Z"), 422, "delay"),
    "run_at without a zone": (asking(run_at="2030-01-01T00:00:00"), 422, "run_at"),
    "run_at is no time": (asking(run_at="tomorrow"), 422, "run_at"),
    "expires_at without a zone": (asking(expires_at="2030-01-01T00:00:00"), 422, "expires_at"),
    "64 bits of retries": (asking(max_retries=2**63), 422, "max_retries"),
    "half a retry": (asking(max_retries=0.5), 422, "max_retries"),
    "retries below zero": (asking(max_retries=-1), 422, "max_retries"),
    "tags is text": (asking(tags="x"), 422, "tags"),
    "too many tags": (asking(tags=["x"] * 33), 422, "tags"),
    "tag is a number": (asking(tags=["x", 1]), 422, "tags[1]"),
    "tag with a NUL": (asking(tags=["x\0y"]), 422, "tags[0]"),
    "more memory than there is": (
        asking(requirements={"memory_mb": 1e9}),
        422,
        "requirements.memory_mb",
    ),
    "no cores": (asking(requirements={"cpu_cores": 0}), 422, "requirements.cpu_cores"),
    "unknown requirement": (asking(requirements={"cpus": 1}), 422, "requirements.cpus"),
} | {
    f"id {task_id[:12]!r}": (asking(task_id=task_id), 422, "task_id")
    for task_id in (
        "", " ", "a b", "a/b", "../x", ".", "..", "a\n", "\na", "a\r\nb", "\x1b[31m", "a\0", "ü",
        "a\u2028b", "%0a", "a?b", "a#b", "x" * 201, "x" * 1_000_000,
    )
}  # fmt: skip
NAMES = (
    "os.system", "../x", "__import__", "eval", "echo.__globals__", "vera_executor.demo.echo",
    "vera_executor.demo:echo", "_check_mode", "Any", "time", "echo ", " echo", "Echo",
    "\uff45\uff43\uff48\uff4f", "ech\u043e", "echo\0", "echo\n", "\x1b[2J", "a\u2028b", "x" * 201,
)  # fmt: skip
CORPUS = NOT_JSON | TOO_MUCH | NOT_ACCEPTABLE


@pytest.fixture(scope="module", autouse=True)
def nothing_is_queued(node: WorkerProcess) -> Iterator[None]:
    yield
    assert node.client.get("/tasks").json()["tasks"] == []
    assert node.submit("echo", 1, wait=60)["status"] == "completed"


@pytest.mark.parametrize("name", list(CORPUS | ENVELOPE))
def test_what_cannot_be_submitted(node: WorkerProcess, name: str) -> None:
    content, status, field = (CORPUS | ENVELOPE)[name]
    answer = node.client.post("/task/submit", content=content, headers=JSON)
    assert_problem(answer, status, field)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (asking(priority="urgent"), "priority: one of critical, high, normal, low is expected"),
        (
            asking(on_dependency_failure="x"),
            "on_dependency_failure: one of fail, run is expected",
        ),
        (b"{}", "payload: this is missing"),
        (payload(args=[]), "payload.function: this is missing"),
        (payload(function="noop", code=1), "payload.code: there is no such field"),
        (asking(**{"y`" * 200_000: 1}), "y`" * 100 + ": there is no such field"),
    ],
    ids=["priority", "dependency", "missing", "missing inside", "unknown inside", "long name"],
)
def test_it_is_said_what_is_expected(node: WorkerProcess, content: bytes, detail: str) -> None:
    answer = node.client.post("/task/submit", content=content, headers=JSON)
    field, _, _ = detail.partition(": ")
    assert assert_problem(answer, 422, field)["detail"] == detail


@pytest.mark.parametrize("name", [*CORPUS, "unknown priority", "timeout is zero"])
def test_what_cannot_be_executed(node: WorkerProcess, name: str) -> None:
    content, status, field = (CORPUS | ENVELOPE)[name]
    assert_problem(node.client.post("/execute", content=content, headers=JSON), status, field)


@pytest.mark.parametrize("path", ["/tasks", "/tasks/cancel", "/tasks/purge"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_asked_of_many_is_not_followed_into_the_depth(
    node: WorkerProcess, path: str, content: bytes
) -> None:
    answer = node.client.post(path, content=content, headers=JSON)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", NAMES)
def test_only_registered_functions_can_be_named(node: WorkerProcess, name: str) -> None:
    for path in ("/task/submit", "/execute"):
        answer = node.client.post(path, json={"payload": {"function": name}})
        assert_problem(answer, 422, "payload.function")


@pytest.mark.parametrize("path", ["/task/submit", "/execute"])
@pytest.mark.parametrize(
    "media_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
     "application/json5", "text/json", "application/octet-stream", "application/pickle", "json",
     "\u00e9", "application/json\u00e9", "text/plain, application/json",
     "application/jsonx;charset=utf-8"],
)  # fmt: skip
def test_only_json_is_taken(node: WorkerProcess, path: str, media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type.encode("latin-1")}
    assert_problem(node.client.post(path, content=asking(), headers=headers), 415)


@pytest.mark.parametrize("path", ["/task/submit", "/execute"])
@pytest.mark.parametrize("size", [MAX_BODY + 1, 8 * MAX_BODY])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit(node: WorkerProcess, path: str, size: int, chunked: bool) -> None:
    content = call(b'"' + b"x" * size + b'"')[:size]
    halves = (content[: size // 2], content[size // 2 :])
    answer = node.client.post(path, content=iter(halves) if chunked else content, headers=JSON)
    assert str(MAX_BODY) in assert_problem(answer, 413)["detail"]


@pytest.mark.parametrize("path", ["/task/submit", "/execute"])
def test_a_body_of_the_limit_is_read(node: WorkerProcess, path: str) -> None:
    shell = payload(function="nobody", args=[""])
    content = shell.replace(b'""', b'"' + b"x" * (MAX_BODY - len(shell)) + b'"')
    assert len(content) == MAX_BODY
    answer = node.client.post(path, content=content, headers=JSON)
    assert_problem(answer, 422, "payload.function")


@pytest.mark.parametrize("name", list(CORPUS))
def test_a_body_where_none_is_asked_for_is_ignored(node: WorkerProcess, name: str) -> None:
    content = CORPUS[name][0]
    for method, path, status in (
        ("POST", "/admin/resume", 200),
        ("GET", "/tasks", 200),
        ("GET", "/health/live", 200),
        ("DELETE", "/task/nobody", 404),
        ("POST", "/nothing", 404),
        ("POST", "/health", 405),
    ):
        answer = node.client.request(method, path, content=content, headers=JSON)
        assert answer.status_code == status
        if status != 200:
            assert_problem(answer, status)


def test_depth_is_bounded_by_a_refusal_and_never_by_a_fault(node: WorkerProcess) -> None:
    """Around the depth at which decoding, hashing and encoding give up one after the other."""
    for depth in range(940, 1000):
        nest = b"[" * depth + b"]" * depth
        # An unknown function: whatever can be decoded is refused for that.
        content = b'{"task_id":"deep","payload":{"function":"nobody","args":[' + nest + b"]}}"
        answer = node.client.post("/task/submit", content=content, headers=JSON)
        assert answer.status_code == 422, answer.text


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.sampled_from(
    ["task_id", "payload", "priority", "timeout", "delay", "run_at", "expires_at", "max_retries",
     "retry_delay", "requirements", "tags", "metadata", "function", "id", "type", "\u2028"]
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.dictionaries(FIELDS, ANY, max_size=4),
    name=ANY,
    path=st.sampled_from(["/task/submit", "/execute"]),
)
def test_no_body_is_a_fault_of_the_worker(
    node: WorkerProcess, body: dict[str, Any], name: Any, path: str
) -> None:
    if name:
        body["payload"] = {"function": name}
    answer = node.client.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert_problem(answer, answer.status_code, answer.json().get("field"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_no_bytes_are_a_fault_of_the_worker(node: WorkerProcess, content: bytes) -> None:
    answer = node.client.post("/task/submit", content=content, headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    assert_problem(answer, answer.status_code, answer.json().get("field"))
