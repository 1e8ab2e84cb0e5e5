"""`kill -9` of the supervisor, or of the fork server, leaves no process behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.isolation.conftest import StartWorker
from tests.support.control_group import UNIFIED, control_group
from tests.support.patience import until_status
from tests.support.processes import (
    alive,
    await_executors,
    await_pool,
    command_line,
    eventually,
    fork_server,
    slack_s,
    state,
)
from tests.support.rounds import rounds
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

BUSY: list[tuple[str, list[Any]]] = [
    ("busy_loop", []),
    ("hang_in_c", []),
    ("hang_holding_gil", []),
    ("hang_blocking_signals", []),
    ("hang_in_regex", []),
    ("stop_self", []),
    ("tree_and", ["hang"]),
    ("tree_and_hold_gil", []),
]
#: Executors, fork server, tracker, and two trees of 5.
EVERYBODY = len(BUSY) + 3 + 10


def _all_busy(start_worker: StartWorker, **settings: str) -> tuple[WorkerProcess, list[str]]:
    """Return a worker with one executor for each way to be busy, one idle, and the tasks' ids."""
    size = str(len(BUSY) + 1)
    worker = start_worker(MIN_WORKERS=size, MAX_WORKERS=size, **settings)
    ids = [worker.submit(function, *args)["task_id"] for function, args in BUSY]
    for task_id in ids:
        until_status(worker, task_id, "running")
    await_executors(worker, busy=len(BUSY), idle=1)
    for task_id, (function, _) in zip(ids, BUSY, strict=True):
        if function.startswith("tree"):
            path = f"/task/{task_id}/output"
            eventually(lambda p=path: worker.client.get(p).text, 20 + slack_s(), "a tree")  # type: ignore[misc]
    eventually(
        lambda: any(state(p) == "T" for p in worker.survivors()), 20 + slack_s(), "a stopped one"
    )
    return worker, ids


@rounds(1, 100)
def test_a_killed_supervisor_leaves_nothing(start_worker: StartWorker, rounds: int) -> None:
    for _ in range(rounds):
        worker, _ = _all_busy(start_worker)
        # Who has just begun a program is seen a moment later.
        eventually(lambda w=worker: len(w.survivors()) >= EVERYBODY, slack_s(), "all are there")  # type: ignore[misc]
        worker.process.kill()
        eventually(lambda w=worker: not alive(w.survivors()), 5 + slack_s(), "no survivors")  # type: ignore[misc]
        worker.process.wait(60)


@rounds(1, 100)
def test_a_killed_fork_server_costs_its_tasks_and_nothing_else(
    start_worker: StartWorker, rounds: int
) -> None:
    worker, ids = _all_busy(start_worker)
    for _ in range(rounds):
        server = fork_server(worker)
        before = set(worker.survivors())
        os.kill(server, signal.SIGKILL)
        for task_id in ids:
            failure = worker.record(task_id, wait=60)["failure"]
            assert failure["cause"] == "crashed"
        eventually(
            lambda b=before - {server}: set(alive(b)) <= set(_trackers(worker)),  # type: ignore[misc]
            slack_s(),
            "nothing that was there lives on",
        )
        await_pool(worker, len(BUSY) + 1)
        assert worker.submit("echo", wait=60)["status"] == "completed"
        eventually(
            lambda: not [p for p in worker.survivors() if state(p) == "Z"], slack_s(), "no zombies"
        )
        ids = [worker.submit("tree_and", "hang")["task_id"] for _ in range(2)]


def _trackers(worker: WorkerProcess) -> list[int]:
    """Return multiprocessing's resource tracker, which serves the next fork server too."""
    return [pid for pid in worker.survivors() if b"resource_tracker" in command_line(pid)]


def test_tasks_that_lost_their_executor_with_the_fork_server_are_run_again(
    start_worker: StartWorker,
) -> None:
    worker = start_worker(VERA_LIMITS__CRASH_RETRIES="2")
    task_id = worker.submit("sleep", 1.0)["task_id"]
    eventually(
        lambda: worker.record(task_id)["status"] == "running", 20 + slack_s(), "the task runs"
    )
    os.kill(fork_server(worker), signal.SIGKILL)
    record = worker.record(task_id, wait=60)
    assert (record["status"], record["attempt"]) == ("completed", 2)


def test_a_killed_supervisor_leaves_groups_that_the_next_one_removes(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    with control_group(tmp_path) as place:
        first = start_worker(python=place.python, **place.settings)
        await_pool(first, 2)
        first.process.kill()
        first.process.wait()
        left = set(place.executors(UNIFIED))
        assert len(left) == 2
        # A task that had fled from the process tree would be found here.
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as fled:
            (left.copy().pop() / "cgroup.procs").write_text(str(fled.pid))
            start_worker(python=place.python, **place.settings)
            assert fled.wait(60) == -signal.SIGKILL
        assert not left & set(place.executors(UNIFIED))
