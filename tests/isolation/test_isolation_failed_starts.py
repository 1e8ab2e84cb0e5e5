"""Executors that could not be started, as while the fork server dies, are one trouble, not many.

P9: they are tried ever more seldom, one at a time; who looks is told; mended code ends it at once.
"""

import os
import signal
from pathlib import Path

import pytest

from tests.isolation.conftest import StartWorker
from tests.support.patience import assert_ready
from tests.support.processes import eventually, fork_servers, slack_s
from tests.support.worker_process import WorkerProcess
from vera_supervisor.scheduling.roster import FIRST_START_DELAY_S, Roster, Size
from vera_supervisor.scheduling.slot import Limits

SIZE = Size(min_workers=9, max_workers=9, idle_timeout_s=60.0)
LIMITS = Limits(start_timeout_s=30.0, check_interval_s=30.0, kill_grace_s=3.0)


def _starts_fail(roster: Roster, now: float, starts: int) -> None:
    assert len(roster.grow(0, now)) == starts
    for slot in list(roster):
        roster.lost(slot, now)


def test_starts_that_fail_together_put_off_the_next_one_once() -> None:
    roster = Roster(SIZE, LIMITS)
    _starts_fail(roster, 100.0, SIZE.min_workers)
    assert roster.failed_starts == SIZE.min_workers
    assert roster.grow(0, 100.0 + FIRST_START_DELAY_S / 2) == []
    assert len(roster.grow(0, 100.0 + FIRST_START_DELAY_S)) == 1


def test_starts_that_fail_again_and_again_put_it_off_ever_longer() -> None:
    roster, now = Roster(SIZE, LIMITS), 100.0
    for volley in range(5):
        _starts_fail(roster, now, 1 if volley else SIZE.min_workers)
        delay = FIRST_START_DELAY_S * 2.0**volley
        assert roster.grow(0, now + delay * 0.9) == []
        now += delay * 1.1


def test_once_one_has_started_all_others_are() -> None:
    roster = Roster(SIZE, LIMITS)
    _starts_fail(roster, 100.0, SIZE.min_workers)
    assert len(roster.grow(0, 101.0)) == 1
    assert roster.grow(9, 101.5) == []
    (slot,) = roster
    roster.rest(slot, 102.0)
    assert len(roster.grow(0, 102.0)) == SIZE.min_workers - 1


@pytest.mark.system
def test_a_worker_whose_code_breaks_says_so_and_is_well_again_once_that_is_mended(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    """The fork server is lost, and so the code as it was: the next one finds what is there now."""
    module = tmp_path / "breakable.py"
    module.write_text("def work() -> int:\n    return 1\n")
    worker = start_worker(modules="breakable", PYTHONPATH=str(tmp_path))
    module.write_text("import os\nos._exit(3)\n")
    for pid in fork_servers(worker):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: _failed_starts(worker) >= 3, 20 + slack_s(), "three failed starts")
    assert worker.client.get("/health/ready").status_code == 503
    assert "'breakable' cannot be loaded" in worker.log.read_text()
    task_id = worker.submit("work")["task_id"]
    module.write_text("def work() -> str:\n    return 'mended'\n")
    worker.client.post("/admin/reload").raise_for_status()
    assert worker.record(task_id, wait=60)["result"] == "mended"
    assert_ready(worker)


def _failed_starts(worker: WorkerProcess) -> int:
    reasons = worker.client.get("/health").json()["reasons"]
    counts = [int(r.split()[0]) for r in reasons if r.endswith("died before they were ready")]
    return sum(counts)
