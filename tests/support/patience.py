"""Waits for what a worker does by asking it, each time a little patiently."""

import time
from collections.abc import Callable
from typing import Any

from tests.support.worker_process import WorkerProcess

_ASK_S = 0.05


def until(said: Callable[[], bool], timeout_s: float = 30) -> None:
    """Ask until it is so."""
    end = time.monotonic() + timeout_s
    while not said():
        assert time.monotonic() < end
        time.sleep(_ASK_S)


def until_status(worker: WorkerProcess, task_id: str, *statuses: str, timeout_s: float = 30) -> Any:
    """Return the record of a task once it has one of these statuses."""
    end = time.monotonic() + timeout_s
    while True:
        record = worker.record(task_id, wait=_ASK_S)
        if record["status"] in statuses:
            return record
        assert time.monotonic() < end, record


def assert_ready(worker: WorkerProcess) -> None:
    """Assert that a task sent now would start; that its loop gets no processor is waited for."""

    def settled() -> bool:
        answer = worker.client.get("/health/ready")
        late = [reason for reason in answer.json()["reasons"] if "the event loop is" in reason]
        assert answer.status_code == 200 or late, answer.text
        return answer.status_code == 200

    until(settled)


def start_sleeping(worker: WorkerProcess, seconds: float = 60, **fields: Any) -> str:
    """Submit a task that only sleeps, and return its id once it runs."""
    task_id: str = worker.submit("sleep", seconds, **fields)["task_id"]
    until_status(worker, task_id, "running")
    return task_id
