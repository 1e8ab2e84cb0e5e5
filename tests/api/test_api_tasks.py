"""The routes of tasks: what each answers, field by field."""

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.http_answers import assert_problem
from tests.support.patience import start_sleeping, until_status
from tests.support.worker_process import WorkerProcess
from vera_worker import task_ids

pytestmark = pytest.mark.system

RECORD = {
    "task_id", "status", "payload", "priority", "queued_at", "started_at", "completed_at",
    "result", "error", "attempt", "max_retries", "worker_id", "tags", "metadata", "progress",
    "position", "blocked_by", "failure", "depends_on", "retry_of", "requirements",
}  # fmt: skip
FAILURE = {
    "cause", "type", "message", "traceback", "exit_code", "signal", "timeout_s", "limit_mb",
    "peak_memory_mb", "cpu_seconds", "duration_s", "stack", "output_tail",
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SETTINGS = {"MAX_WORKERS": "2"}


def new_id() -> str:
    return f"test-{uuid.uuid4()}"


def body(function: str, *args: Any, **fields: Any) -> dict[str, Any]:
    return {"payload": {"function": function, "args": list(args), "kwargs": {}}, **fields}


def assert_json(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.json()


def test_a_submission_is_acknowledged_with_its_place(node: WorkerProcess) -> None:
    answer = node.client.post("/task/submit", json=body("echo", 1))
    accepted = assert_json(answer, 202)
    assert set(accepted) == {"status", "task_id", "position"}
    assert accepted["status"] == "queued"
    assert accepted["position"] >= 1
    assert answer.headers["location"] == f"/task/{accepted['task_id']}"


def test_the_record_of_a_completed_task(node: WorkerProcess) -> None:
    task_id = new_id()
    sent = body(
        "echo", 1, "ü", task_id=task_id, priority="high", tags=["a", "b"], metadata={"k": 1}
    )
    node.client.post("/task/submit", json=sent)
    record = assert_json(node.client.get(f"/task/{task_id}?wait=30"), 200)
    assert set(record) == RECORD
    times = {record.pop(name) for name in ("queued_at", "started_at", "completed_at")}
    assert all(TIME.fullmatch(text) for text in times)
    assert record == {
        "task_id": task_id,
        "status": "completed",
        "payload": sent["payload"] | {"args": [1, "ü"]},
        "priority": "high",
        "result": {"args": [1, "ü"], "kwargs": {}},
        "error": None,
        "attempt": 1,
        "max_retries": 0,
        "worker_id": "worker-1",
        "tags": ["a", "b"],
        "depends_on": [],
        "metadata": {"k": 1},
        "retry_of": None,
        "requirements": None,
        "progress": None,
        "position": None,
        "blocked_by": None,
        "failure": None,
    }


def test_the_record_of_a_failed_task(node: WorkerProcess) -> None:
    record = node.submit("fail", "no luck", wait=60)
    assert set(record) == RECORD
    assert (record["status"], record["error"]) == ("failed", "RuntimeError: no luck")
    assert record["result"] is None
    assert set(record["failure"]) == FAILURE
    assert record["failure"]["cause"] == "exception"
    assert record["failure"]["type"] == "RuntimeError"
    assert "no luck" in record["failure"]["traceback"]


def test_large_integers_arrive_as_they_are(node: WorkerProcess) -> None:
    numbers = [2**63, -(2**63), 2**64, 2**53 + 1, 10**4000]
    assert node.submit("echo", *numbers, wait=60)["result"]["args"] == numbers


def test_waiting_at_submission_ends_with_the_task(node: WorkerProcess) -> None:
    started = time.monotonic()
    answer = node.client.post("/task/submit?wait=50", json=body("sleep", 0.01))
    record = assert_json(answer, 200)
    assert record["status"] == "completed"
    assert answer.headers["location"] == f"/task/{record['task_id']}"
    assert time.monotonic() - started < 25


def test_waiting_at_submission_ends_with_the_time(node: WorkerProcess) -> None:
    started = time.monotonic()
    answer = node.client.post("/task/submit?wait=0.2", json=body("sleep", 60))
    waited_s = time.monotonic() - started
    record = assert_json(answer, 202)
    assert set(record) == RECORD
    assert record["status"] in ("queued", "running")
    assert 0.2 <= waited_s < 10
    node.client.delete(f"/task/{record['task_id']}")


def test_waiting_for_a_task_ends_with_the_time(node: WorkerProcess) -> None:
    task_id = start_sleeping(node)
    started = time.monotonic()
    record = node.record(task_id, wait=0.2)
    assert 0.2 <= time.monotonic() - started < 10
    assert record["status"] == "running"
    assert TIME.fullmatch(record["started_at"])
    node.client.delete(f"/task/{task_id}")


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "x", ""])
def test_a_wait_that_is_no_time_is_refused(node: WorkerProcess, wait: str) -> None:
    before = node.client.get("/tasks?limit=1").json()["tasks"]
    answer = node.client.post("/task/submit", params={"wait": wait}, json=body("noop"))
    assert_problem(answer, 422, "wait")
    assert node.client.get("/tasks?limit=1").json()["tasks"] == before


def test_the_same_submission_again_is_the_same_task(node: WorkerProcess) -> None:
    task_id = new_id()
    first = (
        '{"task_id":"%s","payload":{"function":"echo","args":[1],'
        '"kwargs":{"a":1,"b":[{"c":2,"d":3}]}}}'
    )
    again = (
        ' { "payload" : {"kwargs": {"b": [{"d":3,"c":2}], "a":1}, "args":[ 1 ],'
        ' "function":"\\u0065cho"},\n "task_id":"%s"} '
    )
    headers = {"content-type": "application/json; charset=utf-8"}
    answers = [
        node.client.post("/task/submit", content=text % task_id, headers=headers)
        for text in (first, again, first)
    ]
    assert [answer.status_code for answer in answers] == [202, 200, 200]
    assert {answer.json()["task_id"] for answer in answers} == {task_id}
    assert {answer.headers["location"] for answer in answers} == {f"/task/{task_id}"}
    until_status(node, task_id, "completed")
    repeated = node.client.post("/task/submit", content=first % task_id, headers=headers)
    assert assert_json(repeated, 200)["status"] == "completed"


@pytest.mark.parametrize(
    "other",
    [
        body("echo", 2),
        body("echo", 1.5),
        body("noop"),
        body("echo", 1, priority="high"),
        body("echo", 1, metadata={"x": 1}),
        body("echo", 1, tags=["x"]),
        body("echo", 1, timeout=5),
    ],
)
def test_another_body_for_a_known_id_is_a_conflict(
    node: WorkerProcess, other: dict[str, Any]
) -> None:
    task_id = new_id()
    assert node.submit("echo", 1, task_id=task_id, wait=60)["status"] == "completed"
    answer = node.client.post("/task/submit", json=other | {"task_id": task_id})
    assert task_id in assert_problem(answer, 409, "task_id")["detail"]
    assert node.record(task_id)["payload"] == body("echo", 1)["payload"]


def test_fifty_clients_with_one_id_make_one_task(node: WorkerProcess) -> None:
    task_id = new_id()
    before = node.client.get("/metrics").json()["tasks_completed"]

    def post(_: int) -> httpx.Response:
        return node.client.post("/task/submit", json=body("echo", 7, task_id=task_id))

    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(post, range(50)))
    assert sorted({answer.status_code for answer in answers}) in ([200, 202], [202])
    assert {answer.json()["task_id"] for answer in answers} == {task_id}
    record = until_status(node, task_id, "completed")
    assert record["attempt"] == 1
    same = node.client.get("/tasks", params={"limit": 1000}).json()["tasks"]
    assert sum(task["task_id"] == task_id for task in same) == 1
    assert node.client.get("/metrics").json()["tasks_completed"] == before + 1


def test_a_queued_task_is_cancelled(node: WorkerProcess) -> None:
    task_id = node.submit("noop", delay=3600)["task_id"]
    assert node.record(task_id)["blocked_by"] == "delay"
    record = assert_json(node.client.delete(f"/task/{task_id}"), 200)
    assert set(record) == RECORD
    assert (record["status"], record["failure"]["cause"]) == ("cancelled", "cancelled")
    assert record["error"] == "cancelled while it was queued"
    assert_problem(node.client.delete(f"/task/{task_id}"), 409)


def test_a_running_task_is_cancelled(node: WorkerProcess) -> None:
    task_id = start_sleeping(node)
    record = assert_json(node.client.delete(f"/task/{task_id}"), 200)
    assert (record["status"], record["failure"]["cause"]) == ("cancelled", "cancelled")
    assert record["completed_at"] is not None


def test_an_ended_task_is_not_cancelled(node: WorkerProcess) -> None:
    task_id = node.submit("noop", wait=60)["task_id"]
    problem = assert_problem(node.client.delete(f"/task/{task_id}"), 409)
    assert "completed" in problem["detail"]
    assert node.record(task_id)["status"] == "completed"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "name", ["nobody", "%0d%0a", "%1b[31m", "%00", "%ff", "a%e2%80%a8b", "x" * 5000]
)
def test_a_task_that_nobody_submitted(node: WorkerProcess, method: str, name: str) -> None:
    assert_problem(node.client.request(method, f"/task/{name}"), 404)
    if method == "GET":
        assert_problem(node.client.get(f"/task/{name}/output"), 404)
        assert_problem(node.client.get(f"/task/{name}?wait=30"), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/task/{}"),
        ("DELETE", "/task/{}"),
        ("GET", "/task/{}/output"),
        ("GET", "/task/{}/events"),
        ("POST", "/task/{}/retry"),
    ],
)
def test_an_id_older_than_results_are_kept_is_gone(
    node: WorkerProcess, method: str, path: str
) -> None:
    day_s = 86_400
    for age_s, status in ((day_s + 60, 410), (day_s - 60, 404), (-day_s, 404)):
        task_id = task_ids.new_id(time.time() - age_s)
        assert_problem(node.client.request(method, path.format(task_id)), status)


def test_the_output_of_a_task(node: WorkerProcess) -> None:
    task_id = node.submit("print_everywhere", "héllo", wait=60)["task_id"]
    for query in ("", "?follow=1"):
        answer = node.client.get(f"/task/{task_id}/output{query}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert sorted(answer.text.splitlines()) == sorted(
            f"héllo from {who}" for who in ("python", "python's stderr", "C", "a subprocess")
        )


def test_the_output_of_a_running_task_is_followed_to_its_end(node: WorkerProcess) -> None:
    task_id = start_sleeping(node)
    with node.client.stream("GET", f"/task/{task_id}/output?follow=1") as answer:
        assert answer.status_code == 200
        node.client.delete(f"/task/{task_id}")
        assert answer.read() == b""


def test_pages_of_tasks_newest_first(node: WorkerProcess) -> None:
    tag = new_id()
    ids = [node.submit("echo", i, tags=[tag, "x"], wait=60)["task_id"] for i in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"tag": tag, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = assert_json(node.client.get("/tasks", params=query), 200)
        assert set(page) == {"tasks", "cursor"}
        assert len(page["tasks"]) <= 2
        assert all(set(task) == RECORD for task in page["tasks"])
        seen += [task["task_id"] for task in page["tasks"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_tasks_are_picked_by_status_function_and_tag(node: WorkerProcess) -> None:
    tag = new_id()
    good = node.submit("noop", tags=[tag], wait=60)["task_id"]
    bad = node.submit("fail", tags=[tag], wait=60)["task_id"]

    def found(**query: str) -> list[str]:
        page = node.client.get("/tasks", params={"tag": tag} | query).json()
        return [task["task_id"] for task in page["tasks"]]

    assert found() == [bad, good]
    assert found(status="completed") == [good]
    assert found(status="failed", function="fail") == [bad]
    assert found(status="failed", function="noop") == []
    assert found(tag="no such tag") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("status=%ff", "status"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=nan", "limit"),
        ("limit=many", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=-1", "cursor"),
        ("cursor=%D9%A1", "cursor"),
        ("cursor=" + "9" * 30, "cursor"),
    ],
)
def test_a_page_that_cannot_be_asked_for(node: WorkerProcess, query: str, field: str) -> None:
    assert_problem(node.client.get(f"/tasks?{query}"), 422, field)


def test_a_page_has_a_hard_cap(node: WorkerProcess) -> None:
    assert node.client.get("/tasks?limit=1e300").status_code == 200


def test_a_task_starts_after_those_that_it_depends_on(node: WorkerProcess) -> None:
    first, second = new_id(), new_id()
    with httpx.Client(base_url=node.url) as http:
        call = body("sleep", 0.2, task_id=first)
        assert_json(http.post("/task/submit", json=call), 202)
        call = body("noop", task_id=second, depends_on=[first])
        assert_json(http.post("/task/submit", json=call), 202)
        assert http.get(f"/task/{second}").json()["blocked_by"] in ("dependencies", None)
        record = assert_json(http.get(f"/task/{second}?wait=30"), 200)
        assert (record["status"], record["depends_on"]) == ("completed", [first])
        assert http.get(f"/task/{first}").json()["completed_at"] <= record["started_at"]


def test_a_task_fails_with_the_one_that_it_depends_on(node: WorkerProcess) -> None:
    with httpx.Client(base_url=node.url) as http:
        failed = http.post("/task/submit?wait=30", json=body("fail", "boom")).json()["task_id"]
        call = body("noop", depends_on=[failed])
        record = assert_json(http.post("/task/submit?wait=30", json=call), 200)
        assert (record["status"], record["failure"]["cause"]) == ("failed", "cancelled")
        assert repr(failed) in record["error"]
        call = body("noop", depends_on=[failed], on_dependency_failure="run")
        assert http.post("/task/submit?wait=30", json=call).json()["status"] == "completed"


def test_a_task_cannot_depend_on_one_that_there_is_not(node: WorkerProcess) -> None:
    call = body("noop", depends_on=["never-seen"])
    answer = httpx.post(f"{node.url}/task/submit", json=call)
    assert_problem(answer, 422, "depends_on")
    assert "never-seen" in answer.json()["detail"]
