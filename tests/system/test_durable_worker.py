"""A worker with its durable store: restarts, a second worker on the same file, a damaged file."""

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.patience import assert_ready, start_sleeping, until, until_status
from tests.support.processes import alive, executors, fork_server, slack_s
from tests.support.worker_process import WorkerFailedError, WorkerProcess, worker
from vera_supervisor.store.sqlite.versions import wal_reset_warning

pytestmark = pytest.mark.system

DURABLE = {"STORE_URL": "sqlite:///var/tasks.db", "MAX_WORKERS": "1"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_ended_is_there_after_a_restart(tmp_path: Path, number: signal.Signals) -> None:
    with worker(tmp_path, **DURABLE) as node:
        ended = node.submit("echo", 20, 22, wait=60)
        assert ended["status"] == "completed"
        assert submit_named(node, 1) == 202
        node.process.send_signal(number)
        node.process.wait(60)
    with worker(tmp_path, **DURABLE) as node:
        assert node.record(ended["task_id"]) == ended
        assert submit_named(node, 1) == 200, "it is the same task"
        assert submit_named(node, 2) == 409, "it is another one of that id"
        assert node.client.get("/metrics/prometheus").text.count("store_commit_seconds_bucket")
    assert (tmp_path / "var" / "tasks.db").exists()


def submit_named(node: WorkerProcess, argument: int) -> int:
    """Submit a task whose id the client has chosen; return the status of the answer."""
    body = {"task_id": "named", "payload": {"function": "echo", "args": [argument]}}
    return node.client.post("/task/submit", json=body).status_code


def test_a_stop_that_is_hurried_loses_nothing(tmp_path: Path) -> None:
    """C4: the second signal ends it at once; what ran and what waited is taken up again."""
    with worker(tmp_path, **DURABLE) as node:
        running = node.submit("return_late", 600)["task_id"]
        until_status(node, running, "running")
        waiting = node.submit("echo", 7)["task_id"]
        node.process.send_signal(signal.SIGTERM)
        until(lambda: node.client.get("/health/ready").status_code == 503)  # the first is heard
        started = time.monotonic()
        assert node.terminate() == 0
        assert time.monotonic() - started < 2.0 + slack_s()
        log = node.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log
    with worker(tmp_path, **DURABLE) as node:
        until_status(node, running, "running")
        assert node.record(waiting)["status"] == "queued"
        node.client.delete(f"/task/{running}").raise_for_status()
        assert node.record(waiting, wait=60)["result"]["args"] == [7]


def test_a_second_worker_on_the_same_file_is_one_sentence(tmp_path: Path) -> None:
    with worker(tmp_path, **DURABLE) as node:
        started = time.monotonic()
        with pytest.raises(WorkerFailedError) as failed:
            WorkerProcess(tmp_path, **DURABLE)
        assert time.monotonic() - started < 1.0 + slack_s()
        assert failed.value.status == 2
        assert "in use by another worker" in failed.value.log.splitlines()[-1]
        assert "Traceback" not in failed.value.log
        assert_ready(node)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("pragma user_version = 99", "run the newer version that wrote it"),
        (None, "is damaged"),
    ],
)
def test_a_store_that_cannot_be_relied_on_is_one_sentence(
    tmp_path: Path, harm: str | None, sentence: str
) -> None:
    """U1, D13."""
    with worker(tmp_path, **DURABLE) as node:
        node.submit("echo", 1, wait=60)
        assert node.terminate() == 0
    database = tmp_path / "var" / "tasks.db"
    if harm is None:
        database.write_bytes(database.read_bytes()[:-4096])
    else:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(harm)
    with pytest.raises(WorkerFailedError) as failed:
        WorkerProcess(tmp_path, **DURABLE)
    assert failed.value.status == 2
    assert sentence in failed.value.log.splitlines()[-1]
    assert "Traceback" not in failed.value.log


def test_executors_that_outlive_the_worker_for_a_moment_do_not_hold_the_store(
    tmp_path: Path,
) -> None:
    """U6."""
    with worker(tmp_path, **DURABLE) as node:
        task_id = start_sleeping(node)
        stopped = executors(node)
        for pid in [fork_server(node), *stopped]:
            os.kill(pid, signal.SIGSTOP)  # they cannot notice its end
        node.process.kill()
        node.process.wait()
        assert alive(stopped)
        with worker(tmp_path, **DURABLE) as second:
            assert not alive(stopped), "they are ended before anything starts"
            assert until_status(second, task_id, "running")["attempt"] == 2


def test_a_version_of_sqlite_with_the_wal_reset_bug_is_spoken_of(tmp_path: Path) -> None:
    """D9."""
    warning = wal_reset_warning(sqlite3.sqlite_version_info)
    with worker(tmp_path, **DURABLE) as node:
        log = node.log.read_text()
    assert ("WAL-reset bug" in log) == (warning is not None)
    assert warning is None or warning in log
