"""The clock on the wall of the real worker is put forward and back by an hour (D10).

A library of ours that is preloaded does it: libfaketime makes every `time.sleep` an error.
"""

import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import slack_s
from tests.support.worker_process import WorkerProcess, worker

SOURCE: Final = Path(__file__).with_name("wall_clock.c")
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
]

HOUR_S: Final = 3600.0
JUMPS: Final = (HOUR_S, -HOUR_S)
#: Less than that early, and than that late where the machine has time for the worker.
PRECISION_S: Final = 1.0
TIME_S: Final = 1.5
GRACE_S: Final = 0.5


class Wall:
    """The clock on the wall that a worker sees; the one that it measures with is left alone."""

    def __init__(self, directory: Path) -> None:
        self._ahead = directory / "ahead"
        self.put(0.0)
        library = directory / "wall_clock.so"
        compile_ = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
        subprocess.run(compile_, check=True)
        self.settings = {"LD_PRELOAD": str(library), "CLOCK_AHEAD_FILE": str(self._ahead)}

    def put(self, ahead_s: float) -> None:
        """Put it so far ahead of the real one."""
        new = self._ahead.with_suffix(".new")
        new.write_text(f"{ahead_s:+.0f}")
        new.rename(self._ahead)

    def ahead_s(self, node: WorkerProcess) -> float:
        """Return how far the worker's is ahead."""
        said = datetime.fromisoformat(node.client.get("/health").json()["timestamp"])
        return said.timestamp() - time.time()


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(tmp_path)


def test_nothing_is_early_or_late(tmp_path: Path, wall: Wall) -> None:
    modules = "vera_executor.demo,tests.system.waiting_tasks"
    settings = wall.settings | {"PYTHONPATH": str(Path(__file__).parents[2])}
    settings |= {"MAX_WORKERS": "4", "MIN_WORKERS": "4", "STORE_URL": "sqlite:///tasks.db"}
    settings["VERA_LIMITS__KILL_GRACE"] = str(GRACE_S)
    with worker(tmp_path, modules=modules, **settings) as node:
        for ahead_s in JUMPS:
            began = time.monotonic()
            runs = node.submit("sleep", TIME_S, timeout=3 * TIME_S)["task_id"]
            overdue = node.submit("sleep", 60, timeout=TIME_S)["task_id"]
            delayed = node.submit("noop", delay=TIME_S)["task_id"]
            first = str(tmp_path / f"first {ahead_s}")
            again = node.submit("fail_once", first, max_retries=1, retry_delay=TIME_S)["task_id"]
            wall.put(ahead_s)
            assert abs(wall.ahead_s(node) - ahead_s) < 60, "else the clock has not jumped"

            def ended_after(task_id: str, status: str) -> float:
                record = node.record(task_id, wait=60)
                assert record["status"] == status, record["failure"]
                return time.monotonic() - began  # noqa: B023 - called in this round

            in_time(ended_after(delayed, "completed"))
            in_time(ended_after(again, "completed"), 0.8 * TIME_S, 1.2 * TIME_S)
            in_time(ended_after(overdue, "failed"), TIME_S, TIME_S + GRACE_S)
            in_time(ended_after(runs, "completed"))


def in_time(after_s: float, least_s: float = TIME_S, most_s: float = TIME_S) -> None:
    """Assert that something came when it was due."""
    assert least_s - PRECISION_S <= after_s <= most_s + PRECISION_S + slack_s()
