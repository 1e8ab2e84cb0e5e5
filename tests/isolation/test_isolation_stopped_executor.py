"""An executor that stops in the middle of a large argument holds up nobody but its own task.

This is P5 of the checks.
"""

import os
import signal

import pytest

from tests.isolation.conftest import KILL_GRACE_S
from tests.support.newcomer import live_p99
from tests.support.processes import slack_s, strays
from tests.support.rounds import rounds
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

LIVE_S = 0.1
TIMEOUT_S = 3.0


@rounds(1, 100)
def test_the_loop_and_all_other_tasks_go_on(shared: WorkerProcess, rounds: int) -> None:
    large = "x" * 900_000
    # Whoever had to wait for it would wait as long as it is given; a busy machine takes less.
    limit_s = LIVE_S if rounds >= 100 else TIMEOUT_S / 2
    for _ in range(rounds):
        usual = live_p99(shared)  # of a machine with other work to do
        executor = shared.submit("own_pid", wait=60)["result"]
        os.kill(executor, signal.SIGSTOP)  # it was idle last, so the next task is its own
        task_id = shared.submit("echo", large, timeout=TIMEOUT_S)["task_id"]
        assert live_p99(shared) < limit_s + usual
        assert shared.submit("echo", 1, wait=60)["result"]["args"] == [1]
        another = shared.submit("own_pid", wait=60)["result"]
        # Unless its time is up, and with it the stop.
        assert another != executor or shared.record(task_id)["status"] != "running"
        failure = shared.record(task_id, wait=60)["failure"]
        assert failure["cause"] == "timeout"
        limit = TIMEOUT_S + KILL_GRACE_S + 0.5 + slack_s()
        assert failure["duration_s"] < limit
        assert shared.submit("echo", 2, wait=60)["result"]["args"] == [2]
        assert strays(shared) == []
