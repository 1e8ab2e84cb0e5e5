"""Client and AsyncClient: the same calls, the same answers, the same errors."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

import vera_client
from tests.client.fake_worker import FakeWorker, Reply, failed, problem, record
from vera_client import (
    ApiProblem,
    AsyncClient,
    Client,
    Refused,
    StrangeAnswer,
    TaskFailed,
    WorkerUnreachable,
    transport,
)

Ask = Callable[..., Any]


@pytest.fixture
def script() -> FakeWorker:
    return FakeWorker()


@pytest.fixture(params=["blocking", "asynchronous"])
def ask(request: pytest.FixtureRequest, script: FakeWorker) -> Ask:
    """Call a method of a client, of either kind; nobody sleeps."""

    def blocking(method: str, *args: Any, **kwargs: Any) -> Any:
        with Client(script.url, token="secret", http=script.transport()) as worker:
            worker._sleep = lambda _seconds: None
            said = getattr(worker, method)(*args, **kwargs)
            return list(said) if inspect.isgenerator(said) else said

    def asynchronous(method: str, *args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            async with AsyncClient(script.url, token="secret", http=script.transport()) as worker:
                worker._sleep = lambda _seconds: anyio.lowlevel.checkpoint()
                said = getattr(worker, method)(*args, **kwargs)
                if isinstance(said, AsyncIterator):
                    return [piece async for piece in said]
                return await said

        return anyio.run(run)

    return blocking if request.param == "blocking" else asynchronous


def test_both_have_the_same_methods_with_the_same_parameters() -> None:
    def public(kind: type) -> dict[str, str]:
        methods = {n: m for n, m in vars(kind).items() if callable(m) and n[0] != "_"}
        return {n: str(list(inspect.signature(m).parameters)) for n, m in methods.items()}

    assert public(Client) == public(AsyncClient)


def test_every_name_that_is_exported_can_be_had() -> None:
    for name in vera_client.__all__:
        assert getattr(vera_client, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Fleet'"):
        _ = vera_client.Fleet  # type: ignore[attr-defined]


def test_submit(ask: Ask, script: FakeWorker) -> None:
    script.on("POST /task/submit", Reply(record("queued", position=2), 202))
    accepted = ask("submit", "add", 1, 2, kwargs={"mode": "fast"}, priority="low", task_id="t-1")
    assert (accepted.task_id, accepted.status, accepted.position) == ("t-1", "queued", 2)
    (asked,) = script.asked
    assert asked.json == {
        "task_id": "t-1",
        "payload": {"function": "add", "args": [1, 2], "kwargs": {"mode": "fast"}},
        "priority": "low",
    }
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.headers["content-type"] == "application/json"


def test_run_waits_for_the_result(ask: Ask, script: FakeWorker) -> None:
    script.on("POST /task/submit", record("queued"))
    script.on("GET /task/t-1", record("running"), record())
    assert ask("run", "add", 1, 2) == 3
    assert script.routes() == ["POST /task/submit", "GET /task/t-1", "GET /task/t-1"]
    assert all(asked.query == {"wait": f"{transport.HOLD_S:g}"} for asked in script.asked)


def test_run_raises_when_there_is_no_result(ask: Ask, script: FakeWorker) -> None:
    script.on("POST /task/submit", failed())
    with pytest.raises(TaskFailed) as raised:
        ask("run", "add")
    assert raised.value.record.failure.cause == "timeout"


def test_wait_gives_up_when_its_time_is_over(ask: Ask, script: FakeWorker) -> None:
    script.on("GET /task/t-1", record("running"))
    assert ask("wait", "t-1", 0).status == "running"
    assert [asked.query for asked in script.asked] == [{"wait": "0"}]


def test_the_other_calls(ask: Ask, script: FakeWorker) -> None:
    script.on("GET /task/t-1", record("running"))
    script.on("DELETE /task/t-1", record("cancelled"))
    script.on("GET /task/t-1/output", "hällo\n")
    script.on("GET /tasks", {"tasks": [record()], "cursor": "c-1"})
    script.on("GET /functions", {"functions": [{"name": "add", "signature": "(a, b)"}]})
    script.on("GET /health", Reply({"status": "unhealthy", "reasons": ["no executor"]}, 503))
    script.on("GET /health/ready", problem(503, "Not ready."))
    script.on("GET /metrics", {"tasks_completed": 156})
    for verb in ("drain", "resume", "reload"):
        script.on(f"POST /admin/{verb}", {"done": verb})

    assert ask("status", "t-1").status == "running"
    assert ask("cancel", "t-1").ended
    assert ask("output", "t-1") == "hällo\n"
    assert "".join(ask("follow", "t-1")) == "hällo\n"
    page = ask("list", function="add", limit=1)
    assert (len(page.tasks), page.cursor) == (1, "c-1")
    assert ask("functions")[0].name == "add"
    assert ask("health").reasons == ["no executor"]
    assert ask("ready") is False
    assert ask("metrics") == {"tasks_completed": 156}
    assert [ask(verb)["done"] for verb in ("drain", "resume", "reload")] == [
        "drain",
        "resume",
        "reload",
    ]


def test_a_refusal_says_when_to_come_back(ask: Ask, script: FakeWorker) -> None:
    script.on("POST /task/submit", problem(429, "The queue is full.", Retry_After="3"))
    with pytest.raises(Refused, match="The queue is full") as raised:
        ask("submit", "add")
    assert raised.value.retry_after == 3


def test_a_problem_while_following_is_raised(ask: Ask, script: FakeWorker) -> None:
    script.on("GET /task/t-1/output", problem(404, "There is no such task."))
    with pytest.raises(ApiProblem, match="no such task"):
        ask("follow", "t-1")


def test_a_stranger_is_recognised(ask: Ask, script: FakeWorker) -> None:
    script.on("GET /metrics", "<html>")
    with pytest.raises(StrangeAnswer):
        ask("metrics")


BROKE = httpx.RemoteProtocolError("Server disconnected without sending a response.")


def test_a_connection_that_breaks_once_is_not_noticed(ask: Ask, script: FakeWorker) -> None:
    script.on("POST /task/submit", BROKE, record("queued"))
    assert ask("submit", "add").status == "queued"
    first, second = script.asked
    assert first.body == second.body


def test_a_connection_that_breaks_twice_is_an_error(ask: Ask, script: FakeWorker) -> None:
    script.on("GET /metrics", BROKE)
    with pytest.raises(WorkerUnreachable, match="the connection broke"):
        ask("metrics")
    assert len(script.asked) == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), r"failed \(Connection refused\)"),
        (httpx.ConnectError("All connection attempts failed"), "the connection failed$"),
        (httpx.ConnectTimeout("timed out"), "no connection within 5 s"),
        (httpx.ReadTimeout("timed out"), "did not answer in time"),
    ],
)
def test_what_is_not_there_is_asked_once(
    ask: Ask, script: FakeWorker, error: Exception, said: str
) -> None:
    script.on("GET /metrics", error).on("GET /task/t-1/output", error)
    for method, args in (("metrics", ()), ("follow", ("t-1",))):
        script.asked.clear()
        with pytest.raises(WorkerUnreachable, match=said) as raised:
            ask(method, *args)
        assert str(raised.value).startswith("no worker answers at http://worker.test: ")
        assert len(script.asked) == 1


def test_a_cancellation_is_never_sent_twice(ask: Ask, script: FakeWorker) -> None:
    script.on("DELETE /task/t-1", BROKE)
    with pytest.raises(WorkerUnreachable):
        ask("cancel", "t-1")
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    "url", ["", "localhost:5000", "ftp://worker", "http://", "http://w:99999", "http://w:port"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"looks like http://127\.0\.0\.1:5000"):
        Client(url)


@pytest.mark.parametrize("token", ["two words", "schlüssel", "a\nb"])
def test_a_token_that_no_header_carries_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="a token is one word"):
        Client(token=token)


def test_loopback_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    with Client("http://localhost:5000") as worker:
        chosen = worker._http._transport_for_url
        assert chosen(httpx.URL("http://localhost:5000/")) is worker._http._transport
        assert chosen(httpx.URL("http://far.test/")) is not worker._http._transport


def test_a_long_wait_is_divided() -> None:
    now = [100.0]
    polls = transport.Polls(None, lambda: now[0])
    assert (polls.pause(), polls.hold(), polls.over) == (0, transport.HOLD_S, False)
    assert polls.pause() == transport.BETWEEN_S  # it answered at once: not again so soon
    now[0] += transport.HOLD_S
    assert polls.pause() == 0


def test_a_limited_wait_ends_in_time() -> None:
    now = [0.0]
    polls = transport.Polls(transport.HOLD_S + 0.5, lambda: now[0])
    assert polls.hold() == transport.HOLD_S
    now[0] = transport.HOLD_S
    assert (polls.hold(), polls.pause(), polls.over) == (0.5, 0.5, False)
    now[0] += 0.5
    assert (polls.pause(), polls.hold(), polls.over) == (0, 0, True)
