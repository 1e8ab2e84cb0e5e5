"""While the disk is full or fails, nothing is acknowledged and what runs goes on (D4)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.support.http_answers import assert_problem
from tests.support.patience import assert_ready, until, until_status
from tests.support.processes import eventually, slack_s
from tests.support.traced_worker import needs_strace, traced_python
from tests.support.worker_process import WorkerProcess, worker

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

ROOT: Final = Path(__file__).parents[2]
#: From when there is room again.
WELL_WITHIN_S: Final = 5.0
SETTINGS: Final = {
    "modules": "vera_executor.demo,tests.system.waiting_tasks",
    "PYTHONPATH": str(ROOT),
    "STORE_URL": "sqlite:///var/tasks.db",
    "QUEUE_SIZE": "1000",
    "MAX_WORKERS": "2",
    "MIN_WORKERS": "2",
}


@pytest.fixture(params=["size=4m"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Mount a disk of 4 MiB, or of what a test asks for."""
    place = tmp_path / "disk"
    place.mkdir(mode=0o700)
    options = f"{request.param},mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_refuses_submissions_until_there_is_room_again(
    tmp_path: Path, small_disk: Path
) -> None:
    settings = SETTINGS | {"STORE_URL": f"sqlite:///{small_disk}/tasks.db"}
    with worker(tmp_path, **settings) as node:
        ended = node.submit("echo", 1, wait=60)
        signal = tmp_path / "signal"
        runs = start_waiting(node, signal)
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
        signal.touch()
        until((tmp_path / "signal.seen").exists)
        assert node.record(runs)["status"] == "running", "its end is not on the disk yet"
        filler.unlink()
        eventually(lambda: _submit(node).is_success, WELL_WITHIN_S + slack_s(), "it takes tasks")
        assert_ready(node)
        assert node.record(runs, wait=60)["status"] == "completed"
        for task_id in accepted:
            assert node.record(task_id, wait=60)["status"] == "completed"


@pytest.mark.parametrize(
    ("small_disk", "said"),
    [
        ("size=4m", "database or disk is full"),
        ("size=4m,nr_inodes=3", "No space left on device"),  # not even for the lock file
    ],
    indirect=["small_disk"],
)
def test_a_disk_that_is_full_at_the_start_is_tried_again_by_the_service_manager(
    small_disk: Path, said: str
) -> None:
    """Status 1, not 2: nobody has to mend the configuration."""
    _fill(small_disk / "filler")
    url = f"sqlite:///{small_disk}/tasks.db"
    with suppress(OSError):
        (small_disk / "one-more").touch()
    serve = [sys.executable, "-m", "vera_supervisor", "serve", "--port", "0"]
    environment = os.environ | {"STORE_URL": url}
    end = subprocess.run(serve, env=environment, capture_output=True, check=False, text=True)
    assert end.returncode == 1
    assert f"tasks.db cannot be opened: {said}" in end.stderr


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
    return node.client.post("/task/submit", json=body)


def _submit_until_refused(node: WorkerProcess, accepted: list[str]) -> httpx.Response:
    for _ in range(100):
        answer = _submit(node)
        if not answer.is_success:
            return answer
        accepted.append(answer.json()["task_id"])
    raise AssertionError("the disk is not full")


def start_waiting(node: WorkerProcess, signal: Path) -> str:
    """Start a task that runs until a file appears; return its id."""
    task_id: str = node.submit("wait_for_file", str(signal))["task_id"]
    until_status(node, task_id, "running")
    return task_id


@needs_strace
@pytest.mark.parametrize(("call", "moments"), [("fdatasync", "20..22"), ("pwrite64", "80..84")])
def test_a_disk_that_fails_for_a_while_costs_no_acknowledged_task(
    tmp_path: Path, call: str, moments: str
) -> None:
    window = f"inject={call}:error=EIO:when={moments}"
    python = traced_python(
        tmp_path, "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={call}", "-e", window
    )
    accepted: list[str] = []
    with worker(tmp_path, python=python, **SETTINGS) as node:
        signal = tmp_path / "signal"
        runs = start_waiting(node, signal)
        assert_problem(_submit_until_refused(node, accepted), 503)
        signal.touch()
        until((tmp_path / "signal.seen").exists)
        eventually(lambda: _submit(node).is_success, 10 * WELL_WITHIN_S, "it takes tasks again")
        assert node.record(runs, wait=60)["status"] == "completed"
        node.process.kill()
        node.process.wait()
    assert accepted
    with worker(tmp_path, **SETTINGS) as node:
        for task_id in [runs, *accepted]:
            assert node.record(task_id, wait=60)["status"] == "completed"
