"""A task module that cannot be imported any more: executors die as they start (P9)."""

import os
import re
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.support.patience import until
from tests.support.processes import fork_server
from tests.support.worker_process import WorkerProcess, worker

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

GOOD: Final = "def answer():\n    return {}\n"
BROKEN: Final = "raise RuntimeError('broken on purpose')\n"
_DEATHS: Final = re.compile(r"(\d+) executors in a row died before they were ready")


def deaths(node: WorkerProcess) -> int:
    """Return how many executors died in a row, as far as the worker is not ready for that."""
    answer = node.client.get("/health/ready")
    found = _DEATHS.search(" ".join(answer.json().get("reasons", ())))
    assert (answer.status_code == 503) or found is None
    return int(found[1]) if found else 0


def test_it_is_said_and_is_over_once_the_module_is_mended(tmp_path: Path) -> None:
    module = tmp_path / "fragile_tasks.py"
    module.write_text(GOOD.format(1))
    settings = {"PYTHONPATH": str(tmp_path), "MAX_WORKERS": "1", "MIN_WORKERS": "1"}
    with worker(tmp_path, modules="fragile_tasks", **settings) as node:
        assert node.submit("answer", wait=30)["result"] == 1
        module.write_text(BROKEN)
        os.kill(fork_server(node), signal.SIGKILL)  # the next one imports the module anew
        until(lambda: deaths(node) >= 4, timeout_s=60)
        assert node.client.get("/health/live").status_code == 200
        assert node.client.get("/health").json()["status"] != "healthy"
        waiting = node.submit("answer")["task_id"]
        assert node.log.read_text().count("broken on purpose") < 10, "ever more slowly"
        module.write_text(GOOD.format(2))
        node.client.post("/admin/reload").raise_for_status()
        record = node.record(waiting, wait=60)
        assert (record["result"], record["attempt"]) == (2, 1)
        assert node.client.get("/health/ready").status_code == 200
