"""Points that kill a process do so at their time and at no other."""

import signal
import subprocess
import sys

import pytest

from vera_worker.fault_points import VARIABLE, FaultPoint

REACH = """
from vera_worker.fault_points import FaultPoint, reach
for number in range(3):
    reach(FaultPoint.TASK_STORED)
    print(number, flush=True)
    reach(FaultPoint.TASK_SENT)
"""


def run(armed: str | None) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", REACH],
        env={} if armed is None else {VARIABLE: armed},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.replace("\n", "")


def test_nothing_is_armed_by_itself() -> None:
    assert run(None) == (0, "012")


@pytest.mark.parametrize(("count", "printed"), [("", ""), (":1", ""), (":2", "0"), (":3", "01")])
def test_an_armed_point_kills_when_it_is_reached_so_often(count: str, printed: str) -> None:
    assert run(f"{FaultPoint.TASK_STORED}{count}") == (-signal.SIGKILL, printed)


def test_it_is_passed_when_it_is_not_reached_often_enough() -> None:
    assert run(f"{FaultPoint.TASK_STORED}:4") == (0, "012")
