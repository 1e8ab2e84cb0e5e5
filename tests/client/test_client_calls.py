"""Requests as data, and what their answers mean."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.fake_worker import Reply, failed, problem, record
from vera_client import calls
from vera_client.answers import Answer, as_json, checked
from vera_client.errors import (
    ApiProblem,
    NotAllowed,
    Refused,
    StrangeAnswer,
    TaskFailed,
    ending_of,
    result_of,
)
from vera_client.gauges import by_label
from vera_client.records import Health, TaskRecord


def decoded(body: bytes | None) -> dict[str, object]:
    assert body is not None
    value: dict[str, object] = msgspec.json.decode(body)
    return value


def test_a_submission_has_what_was_said_and_an_id_of_its_own() -> None:
    call = calls.submit("add", (1, "x"), {"mode": "fast"}, {"priority": "high", "timeout": None})
    body = decoded(call.body)
    assert UUID(str(body.pop("task_id")))
    assert body == {
        "payload": {"function": "add", "args": [1, "x"], "kwargs": {"mode": "fast"}},
        "priority": "high",
    }
    assert (call.method, call.path, call.query) == ("POST", "/task/submit", {})


def test_a_submission_keeps_the_id_it_was_given_and_says_how_long_to_wait() -> None:
    call = calls.submit("add", (), None, {"task_id": "mine"}, wait=2.5)
    assert decoded(call.body)["task_id"] == "mine"
    assert (call.query, call.held_s) == ({"wait": "2.5"}, 2.5)


def test_times_travel_in_utc() -> None:
    moment = datetime(2025, 1, 15, 10, tzinfo=UTC)
    assert decoded(calls.submit("f", (), None, {"run_at": moment}).body)["run_at"] == (
        "2025-01-15T10:00:00Z"
    )


@given(st.text(min_size=1))
def test_an_id_is_one_piece_of_the_path(task_id: str) -> None:
    path = calls.status(task_id).path if task_id.isprintable() else "/task/x"
    assert path.count("/") == 2
    assert not set("?# ") & set(path)


def test_only_what_may_be_done_twice_is_repeatable() -> None:
    twice = [calls.submit("f", (), None, {}), calls.status("x"), calls.health()]
    once = [calls.cancel("x"), calls.admin("drain"), calls.status("x").once()]
    assert all(call.repeatable for call in twice)
    assert not any(call.repeatable for call in once)


def test_a_choice_not_made_is_not_sent() -> None:
    assert calls.tasks({"status": "failed", "tag": None, "limit": 5}).query == {
        "status": "failed",
        "limit": "5",
    }


def answer(reply: Reply) -> Answer:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return Answer(reply.status, headers, reply.content)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiProblem),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, ApiProblem),
        (409, ApiProblem),
        (421, NotAllowed),
        (422, ApiProblem),
        (429, Refused),
        (500, ApiProblem),
        (503, Refused),
    ],
)
def test_each_problem_has_its_error(status: int, kind: type[ApiProblem]) -> None:
    with pytest.raises(ApiProblem) as raised:
        checked(answer(problem(status, "Do this instead.")))
    error = raised.value
    assert type(error) is kind
    assert (error.status, error.detail, error.request_id) == (status, "Do this instead.", "r-1")
    assert str(error) == "Do this instead."


@pytest.mark.parametrize(
    ("header", "expected"),
    [("7", 7.0), ("0", 0.0), ("", 1.0), ("Wed, 21 Oct 2025 07:28:00 GMT", 1.0), ("²", 1.0)],
)
def test_retry_after_is_read_in_seconds(header: str, expected: float) -> None:
    with pytest.raises(Refused) as raised:
        checked(answer(problem(429, "The queue is full.", Retry_After=header)))
    assert raised.value.retry_after == expected


def test_an_error_page_of_a_proxy_is_a_problem_too() -> None:
    with pytest.raises(ApiProblem, match="HTTP 502"):
        checked(Answer(502, {}, b"<html>Bad Gateway</html>"))


def test_a_redirection_is_named() -> None:
    with pytest.raises(StrangeAnswer, match="https://elsewhere"):
        checked(Answer(301, {"location": "https://elsewhere"}, b""))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status": "?"}', b"\xff"])
def test_what_is_no_record_is_a_strange_answer(body: bytes) -> None:
    with pytest.raises(StrangeAnswer, match="no vera-worker"):
        as_json(TaskRecord)(Answer(200, {}, body))


def test_some_statuses_are_answers_of_some_calls() -> None:
    call = calls.health()
    body = b'{"status": "draining", "reasons": ["a drain was asked for"], "news": 1}'
    health = call.read(checked(Answer(503, {}, body), call.also))
    assert health == Health(status="draining", reasons=["a drain was asked for"])


def test_a_record_tells_how_it_stands() -> None:
    read = as_json(TaskRecord)
    done = read(Answer(200, {}, msgspec.json.encode(record())))
    assert done.ended
    assert done.completed
    assert done.function == "add"
    assert result_of(done) == 3
    assert done.started_at == datetime(2025, 1, 15, 10, 0, 1, tzinfo=UTC)
    waits = read(Answer(202, {}, b'{"status": "queued", "task_id": "t-1", "position": 4}'))
    assert not waits.ended
    assert waits.position == 4


def test_a_task_without_a_result_says_why() -> None:
    bad = msgspec.convert(failed("memory"), TaskRecord)
    with pytest.raises(TaskFailed, match=r"^task t-1 failed \(memory\): it took longer"):
        result_of(bad)
    gone = msgspec.convert(record("cancelled"), TaskRecord)
    assert ending_of(gone) == "task t-1 cancelled: no reason was given"


def test_gauges_are_read_by_their_label() -> None:
    text = (
        "# HELP queue_size Tasks that wait.\n"
        'queue_size{priority="low"} 3.0\n'
        'queue_size{priority="high"} 0.0\n'
        'executors{state="busy"} 2.0\n'
        'task_wait_seconds_bucket{le="0.1",priority="low"} 9.0\n'
    )
    assert by_label(text, "queue_size", "priority") == {"low": 3, "high": 0}
    assert by_label(text, "executors", "state") == {"busy": 2}
    assert by_label(text, "nothing", "state") == {}
