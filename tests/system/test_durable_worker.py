"""A worker with its durable store: restarts, a second worker on the same file, a full disk."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.http_answers import assert_problem
from tests.support.processes import eventually, slack_s
from tests.support.worker_process import WorkerFailedError, WorkerProcess, worker

pytestmark = pytest.mark.system

DURABLE = {"STORE_URL": "sqlite:///var/tasks.db", "MAX_WORKERS": "1"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_ended_is_there_after_a_restart(tmp_path: Path, number: signal.Signals) -> None:
    with worker(tmp_path, **DURABLE) as node:
        ended = node.submit("echo", 20, 22, wait=30)
        assert ended["status"] == "completed"
        node.process.send_signal(number)
        node.process.wait(20)
    with worker(tmp_path, **DURABLE) as node:
        assert node.record(ended["task_id"]) == ended
        assert node.client.get("/metrics/prometheus").text.count("store_commit_seconds_bucket")
    assert (tmp_path / "var" / "tasks.db").exists()


def test_a_second_worker_on_the_same_file_is_one_sentence(tmp_path: Path) -> None:
    with worker(tmp_path, **DURABLE) as node:
        started = time.monotonic()
        with pytest.raises(WorkerFailedError) as failed:
            WorkerProcess(tmp_path, **DURABLE)
        assert time.monotonic() - started < 1.0 + slack_s()
        assert failed.value.status == 1  # which the service manager tries again
        assert "in use by another worker" in failed.value.log.splitlines()[-1]
        assert "Traceback" not in failed.value.log
        assert node.client.get("/health/ready").status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_refuses_submissions_until_there_is_room_again(
    tmp_path: Path, small_disk: Path
) -> None:
    settings = DURABLE | {"STORE_URL": f"sqlite:///{small_disk}/tasks.db"}
    with worker(tmp_path, **settings) as node:
        ended = node.submit("echo", 1, wait=30)
        filler = small_disk / "filler"
        _fill(filler)
        accepted: list[str] = []
        refused = _submit_until_refused(node, accepted)
        assert_problem(refused, 503)
        assert "the store cannot write" in refused.json()["detail"]
        ready = node.client.get("/health/ready")
        assert ready.status_code == 503
        assert "the store cannot write" in ready.json()["reasons"][0]
        assert node.client.get("/health/live").status_code == 200
        assert node.record(ended["task_id"]) == ended, "it can be read all the while"
        filler.unlink()
        eventually(lambda: _submit(node).is_success, 5.0 + slack_s(), "it takes tasks again")
        assert node.client.get("/health/ready").status_code == 200
        for task_id in accepted:
            assert node.record(task_id, wait=30)["status"] == "completed"


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return


def _submit(node: WorkerProcess) -> httpx.Response:
    payload = {"function": "noop", "args": [], "kwargs": {}}
    body = {"payload": payload, "metadata": "x" * 50_000}
    return node.client.post("/task/submit", params={"wait": 10}, json=body)


def _submit_until_refused(node: WorkerProcess, accepted: list[str]) -> httpx.Response:
    for _ in range(100):
        answer = _submit(node)
        if not answer.is_success:
            return answer
        accepted.append(answer.json()["task_id"])
    raise AssertionError("the disk is not full")
