"""Under cgroup v2, as systemd delegates it, the kernel holds each task to its limits (L1, P3).

A unit with `Delegate=yes` runs the worker; the limits are tried from inside.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy import cgroup_v2_guest
from tests.deploy.own_kernel import BOX, PLACE, Machine

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(900),
    pytest.mark.skipif(BOX is None, reason="VERA_UML_BOX names no machine with cgroup v2"),
]

UNIT: Final = f"""
[Service]
Type=notify
NotifyAccess=main
Delegate=yes
MemoryMax=600M
OOMPolicy=continue
DynamicUser=yes
StateDirectory=vera
WorkingDirectory=/var/lib/vera
TimeoutStartSec=120
Environment=PYTHONPATH={PLACE} STORE_URL=memory: MAX_CPU_PERCENT=100 MAX_MEMORY_PERCENT=100
Environment=TASK_MEMORY=64MiB VERA_LIMITS__TASK_PROCESSES=40 VERA_EXECUTOR__START_TIMEOUT=120
Environment=MAX_WORKERS=2 MIN_WORKERS=2 TASK_MODULES=vera_executor.demo,vera_executor.demo_faults
ExecStart=/usr/bin/python3 -m vera_supervisor serve
"""


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    """Return what the guest saw."""
    machine = Machine(f"cgroup-{os.getpid()}")
    machine.do("up", "--mem", "1G")
    try:
        machine.install()
        (machine.share / "vera.service").write_text(UNIT)
        (machine.share / "guest.py").write_text(Path(cgroup_v2_guest.__file__).read_text())
        machine.do("exec", "cp", "/host/vera.service", "/etc/systemd/system/")
        machine.do("exec", "systemctl", "start", "vera")
        yield json.loads(machine.do("exec", "python3", "/host/guest.py"))
    finally:
        machine.do("down")


def test_the_supervisor_is_in_a_leaf_and_hands_the_controllers_down(seen: dict[str, Any]) -> None:
    assert seen["enforcement"] == {
        "memory": "cgroup v2",
        "processes": "cgroup v2",
        "kill": "cgroup v2",
    }
    assert set(seen["subtree_control"]) >= {"memory", "pids"}
    assert seen["main_pid"] in seen["leaf"]
    assert seen["beside"] == []


@pytest.mark.parametrize("tree", ["one process", "a tree"])
def test_a_balloon_never_has_more_than_its_limit(seen: dict[str, Any], tree: str) -> None:
    failure = seen[tree]
    assert (failure["cause"], failure["signal"]) == ("memory", "SIGKILL")
    assert failure["limit_mb"] == 64
    assert 60 < failure["peak_memory_mb"] <= 64
    assert " in _inflate\n" in failure["stack"]
    assert seen["sibling"] == "running"
    assert seen["within its limit"] == "completed"
    assert seen["active"] == "active"


def test_a_fork_bomb_has_as_many_processes_as_it_may(seen: dict[str, Any]) -> None:
    assert seen["bomb"]["cause"] == "timeout"
    assert 30 < seen["most_processes"] <= 40


def test_a_worker_that_stops_leaves_no_group(seen: dict[str, Any]) -> None:
    assert seen["left"] == []
