"""The real program reads its configuration again: all of it takes effect, or nothing (U3)."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.patience import start_sleeping, until
from tests.support.worker_process import WorkerProcess

TOKEN = "a-token-of-twenty-and-more-characters"
OLD = "[executor]\nmax_workers = 1\n[queue]\nsize = 2\n"
NEW = """
[executor]
max_workers = 2
[queue]
size = 50
[limits]
task_timeout = 0.25
max_cpu_percent = 60
[logging]
level = "WARNING"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "worker.toml"
    path.write_text(OLD)
    return path


@pytest.fixture
def node(tmp_path: Path, file: Path) -> Iterator[WorkerProcess]:
    # What the environment says stands above the file, and a reload does not forget it.
    settings = {"WORKER_TOKEN": TOKEN, "VERA_LIMITS__KILL_GRACE": "0.1"}
    with WorkerProcess(tmp_path, VERA_CONFIG=str(file), **settings) as worker:
        worker.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield worker


def test_a_reload_changes_limits_and_sizes_and_touches_no_task(
    node: WorkerProcess, file: Path
) -> None:
    running = start_sleeping(node, 300)
    waiting = [node.submit("sleep", 300)["task_id"] for _ in range(2)]
    body = {"payload": {"function": "sleep", "args": [0]}}
    assert node.client.post("/task/submit", json=body).status_code == 429
    file.write_text(NEW)
    answer = node.client.post("/admin/reload")
    assert answer.status_code == 200
    assert [change["key"] for change in answer.json()["changes"]] == [
        "logging.level",
        "executor.max_workers",
        "queue.size",
        "limits.task_timeout",
    ]
    until(lambda: bool(node.record(waiting[0])["status"] == "running"))  # in a second executor
    assert node.record(running)["attempt"] == 1
    for task_id in (running, *waiting):
        node.client.delete(f"/task/{task_id}").raise_for_status()
    assert node.submit("sleep", 300, wait=60)["failure"]["timeout_s"] == 0.25
    unchanged: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    answer = node.client.post("/admin/reload")
    assert answer.json() == {"changes": [], "functions": unchanged}


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("[queue]\nsize = 0\n[executor]\nmax_workers = 3\n", 422, "queue.size"),
        ("[queue]\nsize = 7\n[server]\nport = 1\ndrain_timeout = 9\n", 409, "drain_timeout"),
        ("[queue\n", 422, "worker.toml"),
    ],
)
def test_a_reload_that_cannot_be_whole_changes_nothing(
    node: WorkerProcess, file: Path, text: str, status: int, said: str
) -> None:
    before = node.client.get("/admin/config").json()
    file.write_text(text)
    answer = node.client.post("/admin/reload")
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert node.client.get("/admin/config").json() == before
    (logged,) = (line for line in node.log.read_text().splitlines() if "not reloaded" in line)
    assert "all stays as it was" in logged
    assert said in logged


def test_a_hangup_reloads_and_a_faulty_file_is_logged_and_harms_nobody(
    node: WorkerProcess, file: Path
) -> None:
    file.write_text("[queue]\nsize = 0\n")
    node.process.send_signal(signal.SIGHUP)
    until(lambda: "not reloaded, all stays as it was" in node.log.read_text())
    file.write_text(OLD.replace("size = 2", "size = 9"))
    node.process.send_signal(signal.SIGHUP)
    until(lambda: "reloaded: queue.size: 2 -> 9" in node.log.read_text())
    assert node.submit("sleep", 0, wait=60)["status"] == "completed"
