"""POST /tasks: many submissions at once, each with the answer that it would have had alone."""

import json
import socket
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.http_answers import assert_problem
from tests.support.line_stream import LineStream
from tests.support.patience import start_sleeping, until_status
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

SETTINGS = {"MAX_WORKERS": "1", "QUEUE_SIZE": "4", "VERA_LIMITS__MAX_BODY": "4KiB"}
NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}
NOOP = b'{"payload":{"function":"noop"}}'
MAX_BODY = 4096


def call(function: str, *args: Any, **fields: Any) -> bytes:
    return json.dumps({"payload": {"function": function, "args": args}} | fields).encode()


def answers_of(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"] == "application/json":
        return list(answer.json())
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def as_array(bodies: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(bodies) + b"]"


def post(node: WorkerProcess, bodies: list[bytes], headers: dict[str, str], **query: Any) -> Any:
    body = as_array(bodies) if headers is JSON else b"\n".join(bodies)
    return answers_of(node.client.post("/tasks", content=body, headers=headers, params=query))


@pytest.mark.parametrize("headers", [JSON, NDJSON])
def test_one_answer_for_each_in_order(node: WorkerProcess, headers: dict[str, str]) -> None:
    answers = post(node, [call("echo", i) for i in range(20)], headers, wait=60)
    assert [answer["code"] for answer in answers] == [200] * 20
    assert [answer["payload"]["args"] for answer in answers] == [[i] for i in range(20)]
    assert [answer["result"]["args"] for answer in answers] == [[i] for i in range(20)]
    for answer in answers[:3]:
        assert answer == node.record(answer["task_id"]) | {"code": 200}


@pytest.mark.parametrize("headers", [JSON, NDJSON])
def test_without_wait_each_is_answered_as_it_is_accepted(
    node: WorkerProcess, headers: dict[str, str]
) -> None:
    answers = post(node, [NOOP] * 9, headers)
    for answer in answers:
        assert set(answer) == {"code", "status", "task_id", "position"}
        assert (answer["code"], answer["status"]) == (202, "queued")
        until_status(node, answer["task_id"], "completed")
    assert len({answer["task_id"] for answer in answers}) == 9


@pytest.mark.parametrize("headers", [JSON, NDJSON])
def test_nothing_is_answered_with_nothing(node: WorkerProcess, headers: dict[str, str]) -> None:
    assert post(node, [], headers) == []


BAD = {
    b'{"payload":': 400,
    b"[1]": 422,
    b"3": 422,
    b"null": 422,
    b"\xff": 400,
    b'{"payload":{"function":"nope"}}': 422,
    b'{"payload":{"function":"noop"},"priority":"soon"}': 422,
    b'{"payload":{"function":"noop","function":"sleep"}}': 422,
    b"[" * 2000: 422,
    b'{"payload":{"function":"noop"},"metadata":"' + b"x" * MAX_BODY + b'"}': 413,
}


def test_a_bad_line_costs_only_itself(node: WorkerProcess) -> None:
    sent = [line for bad in BAD for line in (bad, b"", NOOP)]
    with LineStream(node.url) as stream:
        for line in sent:
            stream.send(line)
        stream.end()
        answers = stream.answers()
    assert len(answers) == 2 * len(BAD)
    for number, (bad, code) in enumerate(BAD.items()):
        problem, accepted = answers[2 * number : 2 * number + 2]
        assert (problem["code"], problem["status"]) == (code, code), bad
        assert problem["line"] == 3 * number + 1
        assert {"type", "title", "detail", "request_id"} <= set(problem)
        assert accepted["code"] == 202
        until_status(node, accepted["task_id"], "completed")


def test_a_bad_element_of_an_array_costs_only_itself(node: WorkerProcess) -> None:
    answers = post(node, [NOOP, b"3", call("nope"), NOOP], JSON)
    assert [answer["code"] for answer in answers] == [202, 422, 422, 202]
    assert [answer["line"] for answer in answers[1:3]] == [2, 3]
    assert answers[2]["field"] == "payload.function"


def test_what_is_no_batch_is_refused_as_a_whole(node: WorkerProcess) -> None:
    def refused(content: bytes, headers: dict[str, str], **query: str) -> httpx.Response:
        return node.client.post("/tasks", content=content, headers=headers, params=query)

    detail = assert_problem(refused(NOOP, {"content-type": "text/plain"}), 415)["detail"]
    assert "application/json or application/x-ndjson" in detail
    assert_problem(refused(NOOP, JSON), 422)
    assert_problem(refused(b"[1,", JSON), 400)
    assert_problem(refused(as_array([NOOP] * 200), JSON), 413)
    assert_problem(refused(NOOP, NDJSON, on_full="explode"), 422, field="on_full")
    assert_problem(refused(NOOP, NDJSON, wait="soon"), 422, field="wait")


def test_a_stream_may_be_longer_than_any_one_body(node: WorkerProcess) -> None:
    answers = post(node, [NOOP] * 1000, NDJSON)  # some 32 KiB
    assert [answer["code"] for answer in answers] == [202] * 1000
    until_status(node, answers[-1]["task_id"], "completed")


def test_the_same_id_twice_is_one_task_and_with_another_body_a_conflict(
    node: WorkerProcess,
) -> None:
    first = post(node, [call("noop", task_id="twins")] * 3, NDJSON)
    assert [answer["code"] for answer in first] == [202, 200, 200]
    assert [answer["task_id"] for answer in first] == ["twins"] * 3
    one, other = call("noop", task_id="twin"), call("echo", task_id="twin")
    answers = post(node, [one, one, other], NDJSON, wait=60)
    assert [answer["code"] for answer in answers] == [200, 200, 409]
    assert [answer["task_id"] for answer in answers[:2]] == ["twin"] * 2
    again = post(node, [one, other], JSON, wait=60)
    assert [answer["code"] for answer in again] == [200, 409]
    assert again[0]["status"] == "completed"
    assert post(node, [one], NDJSON)[0]["code"] == 200


def test_answers_come_while_lines_are_still_sent(node: WorkerProcess) -> None:
    with LineStream(node.url, "?wait=10") as stream:
        for number in range(5):
            stream.send(call("echo", number))
            assert stream.answer()["result"]["args"] == [number]
        stream.end()
        assert stream.answer() is None


def test_a_slow_one_holds_back_the_answers_behind_it_until_its_time_is_up(
    node: WorkerProcess,
) -> None:
    bodies = [call("sleep", 60, task_id="slow"), call("noop", task_id="behind")]
    slow, behind = post(node, bodies, NDJSON, wait=1)
    assert (slow["code"], slow["status"]) == (202, "running")
    assert (behind["code"], behind["status"], behind["blocked_by"]) == (202, "queued", "executors")
    node.client.delete("/task/slow")
    until_status(node, "behind", "completed")


def test_a_full_queue_slows_the_reading_down(node: WorkerProcess) -> None:
    running = start_sleeping(node)
    with LineStream(node.url) as stream:
        stream.send(*[NOOP] * 20)
        assert [stream.answer()["position"] for _ in range(4)] == [1, 2, 3, 4]
        assert node.client.get("/health").json()["queue_size"] == 4
        # Whoever does not wait is refused as ever.
        alone = node.client.post("/task/submit", content=NOOP, headers=JSON)
        assert_problem(alone, 429)
        stream.socket.settimeout(0.5)
        blanks = b"2000000\r\n" + b" " * 0x2000000  # 32 MiB
        with pytest.raises(TimeoutError):
            stream.socket.sendall(blanks)
        node.client.delete(f"/task/{running}")
        stream.socket.settimeout(15)
        ids = [stream.answer()["task_id"] for _ in range(16)]
    until_status(node, ids[-1], "completed")


def test_or_the_lines_too_many_are_refused(node: WorkerProcess) -> None:
    running = start_sleeping(node)
    for headers in (NDJSON, JSON):
        answers = post(node, [NOOP] * 6, headers, on_full="reject")
        assert [answer["code"] for answer in answers] == [202] * 4 + [429] * 2
        for refused in answers[4:]:
            assert refused["retry_after"] >= 1
            assert refused["line"] in (5, 6)
        for accepted in answers[:4]:
            node.client.delete(f"/task/{accepted['task_id']}")
    node.client.delete(f"/task/{running}")


def test_a_worker_that_drains_refuses_each_line(node: WorkerProcess) -> None:
    running = start_sleeping(node)
    with LineStream(node.url) as stream:
        stream.send(*[NOOP] * 6)
        accepted = [stream.answer() for _ in range(4)]
        node.client.post("/admin/drain")
        refused = [stream.answer() for _ in range(2)]
        assert [answer["code"] for answer in refused] == [503, 503]
        node.client.post("/admin/resume")
        node.client.delete(f"/task/{running}")
        stream.end()
        assert stream.answer() is None
    until_status(node, accepted[-1]["task_id"], "completed")


@pytest.mark.parametrize("way", ["half-close", "close", "reset"])
@pytest.mark.parametrize("query", ["", "?wait=10"])
def test_a_client_that_leaves_in_the_middle(node: WorkerProcess, way: str, query: str) -> None:
    """Each task is either not there, or it runs to its end; what was acknowledged is there."""
    for i in range(25):
        ids = [f"{way}-{len(query)}-{i}-{n}" for n in range(8)]
        acknowledged: list[str] = []
        with LineStream(node.url, query) as stream:
            for task_id in ids[: i % 9]:
                stream.send(call("noop", task_id=task_id))
            acknowledged += [stream.answer()["task_id"] for _ in range(min(i // 3, i % 9))]
            if i % 4 == 0:
                stream.socket.sendall(b"40\r\n" + NOOP[: i % 20])
            elif i % 4 == 1:
                stream.end()
            if way == "half-close":
                stream.socket.shutdown(socket.SHUT_WR)
                while stream.socket.recv(4096):
                    pass
            elif way == "reset":
                stream.reset()
        for task_id in ids:
            found = node.client.get(f"/task/{task_id}")
            if found.status_code == 200:
                until_status(node, task_id, "completed")
            else:
                assert_problem(found, 404)
                assert task_id not in acknowledged


@settings(max_examples=10)
@given(st.lists(st.sampled_from([NOOP, b"oops", b"", call("noop", 1)]), max_size=30))
def test_any_mixture_has_its_answers_in_order(node: WorkerProcess, lines: list[bytes]) -> None:
    codes = [answer["code"] for answer in post(node, lines, NDJSON)]
    assert codes == [{NOOP: 202, b"oops": 400}.get(line, 422) for line in lines if line]
