"""The routes about the worker itself, and those of Vera's orchestrator."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.http_answers import assert_problem
from tests.support.patience import until
from tests.support.worker_process import WorkerProcess
from vera_supervisor.api.openapi.document import document
from vera_supervisor.api.openapi.page import HEADERS

pytestmark = pytest.mark.system

SETTINGS = {
    "WORKER_ID": "node-7",
    "MAX_WORKERS": "3",
    "modules": "vera_executor.demo,vera_executor.demo_faults,tests.api.once_tasks",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}
EXECUTORS = {"starting", "idle", "checking", "busy", "stopping", "retiring", "killing"}


def assert_json(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.json()


def test_health(node: WorkerProcess) -> None:
    until(lambda: node.client.get("/health").json()["status"] == "healthy")  # all of it is up
    health = assert_json(node.client.get("/health"))
    assert set(health) == {
        "status", "worker_id", "active_tasks", "queue_size", "cpu_percent", "memory_percent",
        "timestamp", "executors", "pools", "reasons", "cpu_usage", "memory_usage_mb",
        "enforcement",
    }  # fmt: skip
    assert health["enforcement"] == {
        "memory": "sampling", "processes": "none", "kill": "process tree",
    }  # fmt: skip
    assert (health["status"], health["reasons"]) == ("healthy", [])
    assert health["worker_id"] == "node-7"
    assert set(health["executors"]) == EXECUTORS
    assert health["pools"]["default"]["executors"] == health["executors"]
    assert 0 <= health["cpu_percent"] <= 100
    assert 0 < health["memory_percent"] < 100
    assert health["memory_usage_mb"] > 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", health["timestamp"])


def test_probes(node: WorkerProcess) -> None:
    assert assert_json(node.client.get("/health/live")) == {"status": "live"}
    assert assert_json(node.client.get("/health/ready")) == {"status": "ready", "reasons": []}


def test_metrics_count_what_happened(node: WorkerProcess) -> None:
    before = assert_json(node.client.get("/metrics"))
    node.submit("noop", wait=60)
    node.submit("fail", wait=60)
    node.client.delete(f"/task/{node.submit('noop', delay=3600)['task_id']}")
    after = assert_json(node.client.get("/metrics"))
    assert set(after) >= {
        "tasks_completed", "tasks_failed", "tasks_queued", "tasks_cancelled", "active_tasks",
        "average_execution_time", "uptime_seconds", "cpu_cores", "memory_total_gb",
    }  # fmt: skip
    grown = {name: after[name] - before[name] for name in before if name.startswith("tasks_")}
    assert grown == {
        "tasks_completed": 1,
        "tasks_failed": 1,
        "tasks_cancelled": 1,
        "tasks_queued": 0,
    }
    assert after["average_execution_time"] > 0
    assert after["uptime_seconds"] > before["uptime_seconds"]


def test_prometheus_has_the_promised_names(node: WorkerProcess) -> None:
    node.submit("fail", wait=60)
    answer = node.client.get("/metrics/prometheus")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["x-content-type-options"] == "nosniff"
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", answer.text, re.MULTILINE))
    promised = {
        "tasks_completed_total": "counter",
        "tasks_failed_total": "counter",
        "tasks_cancelled_total": "counter",
        "task_duration_seconds": "histogram",
        "task_wait_seconds": "histogram",
        "active_tasks": "gauge",
        "queue_size": "gauge",
        "executors": "gauge",
        "executor_restarts_total": "counter",
        "admission_blocked": "gauge",
        "submissions_rejected_total": "counter",
        "store_commit_seconds": "histogram",
        "event_loop_lag_seconds": "gauge",
        "cpu_percent": "gauge",
        "memory_percent": "gauge",
    }
    assert promised.items() <= kinds.items()
    for sample in (
        'tasks_failed_total{cause="exception"} ',
        'task_duration_seconds_count{function="fail"} ',
        'task_wait_seconds_count{priority="normal"} ',
        'queue_size{priority="critical"} 0.0',
        'executors{state="idle"} ',
        'pool_executors{pool="default",state="idle"} ',
        'pool_queue_size{pool="default"} 0.0',
        'submissions_rejected_total{reason="queue_full"} 0.0',
        'worker_info{version="0.1.0",worker_id="node-7"} 1.0',
    ):
        assert f"\n{sample}" in answer.text


def test_no_word_of_a_client_becomes_a_series(node: WorkerProcess) -> None:
    def series() -> set[str]:
        text = node.client.get("/metrics/prometheus").text
        return {line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"}

    node.submit("echo", wait=60)
    before = series()
    for i in range(50):
        word = f"word{i}"
        node.submit("echo", word, task_id=word, tags=[word], metadata=word)
        node.client.post("/task/submit", json={"payload": {"function": word}})
        node.client.get(f"/{word}", headers={"user-agent": word})
        node.client.request("WORD", f"/task/{word}")
    assert series() == before


def test_functions(node: WorkerProcess) -> None:
    functions = assert_json(node.client.get("/functions"))["functions"]
    by_name = {function["name"]: function for function in functions}
    assert set(by_name["echo"]) == {
        "name", "module", "signature", "doc", "pool", "limits", "idempotent", "usage",
    }  # fmt: skip
    assert by_name["echo"]["pool"] == "default"
    assert by_name["echo"]["module"] == "vera_executor.demo"
    assert by_name["echo"]["signature"].startswith("(*args: Any, **kwargs: Any)")
    assert by_name["echo"]["doc"] == "Return the arguments."
    assert not [name for name in by_name if name.startswith("_")]
    assert [name for name, each in by_name.items() if not each["idempotent"]] == ["fail_for_good"]


def test_capabilities(node: WorkerProcess) -> None:
    said = assert_json(node.client.get("/capabilities"))
    assert said["capabilities"][:2] == ["python", "remote_compute"]
    assert said["max_concurrent_tasks"] == 3


def test_execute_answers_with_the_result(node: WorkerProcess) -> None:
    request = {
        "id": "t1",
        "type": "python",
        "payload": {"function": "echo", "args": [1], "kwargs": {"a": 2}},
        "timeout": 30,
        "context": {"what": "the orchestrator sends besides"},
    }
    done = assert_json(node.client.post("/execute", json=request))
    assert set(done) == {"success", "data", "error", "metrics"}
    assert (done["success"], done["error"]) == (True, None)
    assert done["data"] == {"args": [1], "kwargs": {"a": 2}}
    assert done["metrics"]["execution_time_ms"] > 0
    assert done["metrics"]["task_id"] == "t1"
    assert node.record("t1")["status"] == "completed"


def test_an_execution_that_is_sent_again_is_the_same_one(node: WorkerProcess) -> None:
    def execute(**more: Any) -> httpx.Response:
        body = {"id": "again", "payload": {"function": "echo", "args": [1]}} | more
        return node.client.post("/execute", json=body)

    first = assert_json(execute())
    assert assert_json(execute()) == first, "the lost answer"
    problem = assert_problem(execute(timeout=7), 409, field="id")
    assert "another task has the id 'again'" in problem["detail"]
    assert_problem(execute(id="a b"), 422, field="id")


def test_an_execution_that_failed_is_tried_again_under_its_id(node: WorkerProcess) -> None:
    def execute(function: str) -> Any:
        body = {"id": f"try-{function}", "payload": {"function": function}}
        return assert_json(node.client.post("/execute", json=body))

    first, second = execute("fail"), execute("fail")
    assert (first["metrics"]["task_id"], second["success"]) == ("try-fail", False)
    assert node.record(second["metrics"]["task_id"])["retry_of"] == "try-fail"
    # One that must never start twice is not, whoever asks for it.
    once = execute("fail_for_good")
    assert (once["success"], execute("fail_for_good")) == (False, once)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"function": "fail", "args": ["no luck"]}, "RuntimeError: no luck"),
        ({"function": "unserialisable"}, "object"),
    ],
)
def test_execute_answers_with_the_error(
    node: WorkerProcess, payload: dict[str, Any], error: str
) -> None:
    done = assert_json(node.client.post("/execute", json={"payload": payload}))
    assert (done["success"], done["data"]) == (False, None)
    assert error in done["error"]


def test_execute_ends_with_the_timeout_of_the_task(node: WorkerProcess) -> None:
    request = {"payload": {"function": "sleep", "args": [60]}, "timeout": 0.2}
    done = assert_json(node.client.post("/execute", json=request))
    assert done["success"] is False
    assert "0.2" in done["error"]


def test_drain_and_resume(node: WorkerProcess) -> None:
    task_id = node.submit("sleep", 60)["task_id"]
    try:
        drain = assert_json(node.client.post("/admin/drain"))
        assert set(drain) == {"status", "active_tasks"}
        assert drain["status"] == "draining"
        refused = node.client.post("/task/submit", json={"payload": {"function": "noop"}})
        assert_problem(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert_problem(node.client.post("/execute", json={"payload": {"function": "noop"}}), 503)
        health = assert_json(node.client.get("/health"), 503)
        assert health["status"] == "draining"
        ready = assert_json(node.client.get("/health/ready"), 503)
        assert ready["status"] == "not ready"
        assert ready["reasons"]
        assert_json(node.client.get("/health/live"), 200)
    finally:
        resumed = assert_json(node.client.post("/admin/resume"))
    assert resumed["status"] == "healthy"
    assert assert_json(node.client.get("/health/ready"))["status"] == "ready"
    assert node.submit("noop", wait=60)["status"] == "completed"
    node.client.delete(f"/task/{task_id}")


def test_the_configuration_in_force(node: WorkerProcess) -> None:
    shown = assert_json(node.client.get("/admin/config"))
    assert shown["worker.id"] == {"value": "node-7", "origin": "WORKER_ID"}
    assert shown["executor.max_workers"] == {"value": 3, "origin": "MAX_WORKERS"}
    assert shown["queue.size"] == {"value": 100, "origin": "default"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/execute", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("DELETE", "/tasks", {"GET", "HEAD", "POST"}),
        ("POST", "/task/x", {"GET", "HEAD", "DELETE"}),
        ("DELETE", "/admin/config", {"GET", "HEAD"}),
        ("PUT", "/task/x", {"GET", "HEAD", "DELETE"}),
        ("OPTIONS", "/task/submit", {"GET", "HEAD", "POST", "DELETE"}),
        ("PATCH", "/nothing", {"GET", "HEAD", "POST", "DELETE"}),
    ],
)
def test_a_method_that_is_not_for_a_route(
    node: WorkerProcess, method: str, path: str, allowed: set[str]
) -> None:
    answer = node.client.request(method, path)
    assert_problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path", ["/nothing", "/health/", "/task/", "/task/a/b", "/admin", "/a%0ab"]
)
def test_nothing_there(node: WorkerProcess, path: str) -> None:
    assert_problem(node.client.get(path), 404)


@pytest.mark.parametrize("path", ["/health", "/tasks", "/functions", "/metrics/prometheus"])
def test_a_head_is_a_get_without_its_body(node: WorkerProcess, path: str) -> None:
    answer = node.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert node.client.get("/health/live").status_code == 200


def test_the_worker_describes_itself(node: WorkerProcess) -> None:
    described = node.client.get("/openapi.json")
    assert described.headers["content-type"] == "application/json"
    assert described.json() == json.loads(msgspec.json.encode(document()))
    for path, words in (("/docs", "Submit a task"), ("/", "/docs")):
        page = node.client.get(path)
        assert page.status_code == 200
        assert page.headers.items() >= HEADERS.items()
        assert words in page.text
