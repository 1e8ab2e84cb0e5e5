"""The real program has as many executors as its work calls for, and never stops a busy one."""

from pathlib import Path
from typing import Any

import psutil

from tests.support import processes
from tests.support.patience import until, until_status
from tests.support.worker_process import WorkerProcess

MOST = 4
SCALING = {"MIN_WORKERS": "1", "MAX_WORKERS": str(MOST), "VERA_EXECUTOR__IDLE_TIMEOUT": "0.2"}


def executors(worker: WorkerProcess) -> Any:
    return worker.client.get("/health").json()["executors"]


def test_a_backlog_has_all_executors_and_those_too_many_leave_when_idle(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, **SCALING) as node:
        until(lambda: executors(node)["idle"] == 1)
        running = [node.submit("sleep", 300)["task_id"] for _ in range(MOST + 1)]
        for task_id in running[:MOST]:
            until_status(node, task_id, "running")
        assert executors(node) == dict.fromkeys(executors(node), 0) | {"busy": MOST}
        assert node.record(running[MOST])["blocked_by"] == "executors"
        kept, *others = running
        for task_id in others:
            node.client.delete(f"/task/{task_id}").raise_for_status()
        until(lambda: sum(executors(node).values()) == 1)
        assert executors(node)["busy"] == 1, "idle ones leave, not the busy one"
        assert (node.record(kept)["status"], node.record(kept)["attempt"]) == ("running", 1)
        text = node.client.get("/metrics/prometheus").text
        (count,) = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith('executor_start_seconds_count{pool="default"}')
        ]
        assert count >= MOST


def test_without_a_minimum_the_first_task_starts_the_first_executor(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, **SCALING | {"MIN_WORKERS": "0"}) as node:
        assert node.submit("noop", wait=60)["status"] == "completed"
        until(lambda: sum(executors(node).values()) == 0)
        assert node.submit("noop", wait=60)["status"] == "completed"


def test_an_idle_executor_holds_little_memory(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, modules="vera_executor.demo", **SCALING) as node:
        assert node.submit("noop", wait=60)["status"] == "completed"
        held = [psutil.Process(pid).memory_full_info().pss for pid in processes.executors(node)]
        assert held
        assert max(held) <= 20 * 2**20
