"""Schedules of a real worker."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import eventually, slack_s
from tests.support.worker_process import WorkerFailedError, WorkerProcess, worker

pytestmark = pytest.mark.system

#: Due when the worker starts, whatever time it is: every minute, and one minute late is on time.
ALWAYS = """
[[schedules]]
name = "pulse"
cron = "* * * * *"
function = "echo"
args = ["once"]
missed = "run_once"
"""


def write(directory: Path, text: str) -> None:
    (directory / "config").mkdir()
    (directory / "config" / "worker.toml").write_text(text, encoding="utf-8")


def test_what_recurs_is_run_and_a_restart_does_not_run_it_again(tmp_path: Path) -> None:
    write(tmp_path, ALWAYS)
    durable = {"STORE_URL": "sqlite:///var/tasks.db"}
    with worker(tmp_path, **durable) as node:
        eventually(lambda: bool(completed(node)), 10.0 + slack_s(), "the schedule is kept")
        first = completed(node)[0]
        assert node.terminate() == 0
    with worker(tmp_path, **durable) as node:
        # Answered only when all that the schedule submitted at the start was decided on.
        node.submit("echo", wait=60)
        assert completed(node)[0] == first, "the same attempt at the same time"


def completed(node: WorkerProcess) -> list[Any]:
    """Return the records of the tasks of the schedule that were run, the oldest first."""
    query = {"tag": "schedule:pulse", "status": "completed"}
    found: list[Any] = node.client.get("/tasks", params=query).raise_for_status().json()["tasks"]
    return found[::-1]


def test_a_function_that_there_is_not_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, ALWAYS.replace("echo", "ecko"))
    with pytest.raises(WorkerFailedError) as failed:
        WorkerProcess(tmp_path)
    assert failed.value.status == 2
    assert failed.value.log.splitlines()[-1] == (
        "vera-worker: schedules.pulse.function: no task module offers a function "
        '"ecko"; did you mean "echo"?'
    )
    assert "Traceback" not in failed.value.log
