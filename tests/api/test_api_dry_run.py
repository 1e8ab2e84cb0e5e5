"""`?dry_run=1` says what a submission would lead to, and leads to nothing."""

from typing import Any

import httpx
import pytest

from tests.support.http_answers import assert_problem
from tests.support.worker_process import WorkerProcess
from vera_supervisor.scheduling.drain_rate import MAX_RETRY_AFTER_S

pytestmark = pytest.mark.system

SETTINGS = {"MAX_WORKERS": "1", "QUEUE_SIZE": "2", "TASK_MEMORY": "512MiB"}
LIMITS = {
    "priority": "normal",
    "timeout": 300.0,
    "max_retries": 0,
    "retry_delay": 1.0,
    "memory_mb": 512.0,
    "max_concurrency": None,
    "at_most_once": False,
}


def rehearse(node: WorkerProcess, function: str = "sleep", **fields: Any) -> httpx.Response:
    body = {"payload": {"function": function, "args": [60]}} | fields
    return node.client.post("/task/submit", params={"dry_run": 1}, json=body)


def test_on_an_idle_worker_it_would_start_at_once(node: WorkerProcess) -> None:
    before = node.client.get("/metrics").json()["tasks_queued"]
    answer = rehearse(node, task_id="r", priority="high", requirements={"memory_mb": 64})
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "queued",
        "task_id": "r",
        "position": 1,
        "blocked_by": None,
        "starts_in_s": 0.0,
        "limits": LIMITS | {"priority": "high", "memory_mb": 64.0},
    }
    assert node.client.get("/task/r").status_code == 404
    assert node.client.get("/metrics").json()["tasks_queued"] == before


def test_it_says_what_a_task_would_wait_for(node: WorkerProcess) -> None:
    delayed = rehearse(node, delay=100).json()
    assert (delayed["blocked_by"], delayed["position"]) == ("delay", None)
    assert 99 < delayed["starts_in_s"] <= 100
    running = node.submit("sleep", 60)["task_id"]
    waiting = node.submit("noop")["task_id"]
    busy = rehearse(node).json()
    assert (busy["blocked_by"], busy["position"], busy["limits"]) == ("executors", 2, LIMITS)
    assert rehearse(node, priority="critical").json()["position"] == 1
    dependent = rehearse(node, depends_on=[running]).json()
    assert (dependent["blocked_by"], dependent["starts_in_s"]) == ("dependencies", None)
    node.submit("noop", task_id="third")
    refused = rehearse(node)
    assert_problem(refused, 429)
    first = int(refused.headers["retry-after"])
    assert first >= 1
    for _ in range(100):  # and nobody has to stand behind those who only asked
        refused = rehearse(node)
    assert int(refused.headers["retry-after"]) < first + MAX_RETRY_AFTER_S / 2
    for task_id in (waiting, "third", running):
        assert node.client.delete(f"/task/{task_id}").status_code == 200


def test_what_would_be_refused_is_refused(node: WorkerProcess) -> None:
    assert_problem(rehearse(node, "no_such"), 422, "payload.function")
    assert_problem(rehearse(node, requirements={"gpus": 1}), 422, "requirements.gpus")
    assert_problem(rehearse(node, depends_on=["nobody"]), 422, "depends_on")


def test_a_task_that_there_was_before_stands_as_it_does(node: WorkerProcess) -> None:
    node.submit("sleep", 0, task_id="old", wait=60)
    body = {"task_id": "old", "payload": {"function": "sleep", "args": [0], "kwargs": {}}}
    again = node.client.post("/task/submit?dry_run=true", json=body)
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert_problem(rehearse(node, task_id="old"), 409, "task_id")
