"""Tasks that take the worker with them end after so many attempts, and harm no other (D11)."""

import signal
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.support.worker_process import WorkerFailedError, worker

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

CRASH_RETRIES: Final = 2
SETTINGS: Final = {
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "STORE_URL": "sqlite:///tasks.db",
    "MAX_WORKERS": "1",
    "VERA_LIMITS__CRASH_RETRIES": str(CRASH_RETRIES),
}


def test_a_task_that_always_kills_its_executor_is_given_up(tmp_path: Path) -> None:
    with worker(tmp_path, **SETTINGS) as node:
        deadly = node.submit("segfault")["task_id"]
        others = [node.submit("echo", number)["task_id"] for number in range(5)]
        record = node.record(deadly, wait=60)
        assert (record["status"], record["failure"]["cause"]) == ("failed", "crashed")
        assert record["attempt"] == CRASH_RETRIES + 1
        for task_id in others:
            other = node.record(task_id, wait=60)
            assert (other["status"], other["attempt"]) == ("completed", 1)


def test_a_task_that_always_kills_the_supervisor_is_given_up(tmp_path: Path) -> None:
    others = [f"other-{number}" for number in range(5)]
    with worker(tmp_path, modules="tests.system.killers", **SETTINGS) as node:
        for task_id in others:
            node.submit("harmless", task_id=task_id, delay=0.5)
        with suppress(httpx.TransportError):  # it may be gone before it has answered
            node.submit("kill_the_supervisor", task_id="deadly")
        assert node.process.wait(60) == -signal.SIGKILL
    # Of its first start the store may not have heard.
    lives = 1 + sum(1 for _ in takewhile(bool, (is_killed(tmp_path) for _ in range(9))))
    assert lives in (CRASH_RETRIES + 1, CRASH_RETRIES + 2)
    with worker(tmp_path, modules="tests.system.killers", **SETTINGS) as node:
        record = node.record("deadly", wait=60)
        assert (record["status"], record["failure"]["cause"]) == ("failed", "worker_lost")
        assert record["attempt"] == CRASH_RETRIES + 1
        assert all(node.record(each, wait=60)["status"] == "completed" for each in others)


def is_killed(directory: Path) -> bool:
    """Start a worker that takes up the task that kills it, perhaps before it is ready."""
    try:
        with worker(directory, modules="tests.system.killers", **SETTINGS) as node:
            node.record("deadly", wait=60)
            assert node.terminate() == 0
            return False
    except WorkerFailedError as error:
        return error.status == -signal.SIGKILL
    except httpx.TransportError:
        return node.process.wait(60) == -signal.SIGKILL


def test_a_task_that_must_not_run_twice_does_not(tmp_path: Path) -> None:
    with worker(tmp_path, modules="tests.system.killers", **SETTINGS) as node:
        with suppress(httpx.TransportError):  # it may be gone before it has answered
            node.submit("kill_the_supervisor_once", task_id="once")
        assert node.process.wait(60) == -signal.SIGKILL
    with worker(tmp_path, modules="tests.system.killers", **SETTINGS) as node:
        record = node.record("once", wait=60)
        assert (record["status"], record["failure"]["cause"]) == ("failed", "worker_lost")
        assert record["attempt"] == 1
