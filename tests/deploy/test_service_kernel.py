"""C5, L1: the service where the kernel limits memory: one task's end is not the unit's."""

import json
import tarfile
from collections.abc import Iterator
from typing import Final

import pytest

from tests.deploy.conftest import UNIT, Host
from tests.support.boxes import KernelBox, box_tests

pytestmark = box_tests("uml-box")

_DROP_IN: Final = """[Service]
Environment=TASK_MODULES=vera_executor.demo,vera_executor.demo_faults
Environment=TASK_MEMORY=96MiB MAX_CPU_PERCENT=100 MAX_MEMORY_PERCENT=100 MAX_WORKERS=2
# Everything takes many times longer here.
WatchdogSec=120s
TimeoutStartSec=300s
"""
#: A task that takes more than it may, with a process of its own, and one beside it that does not.
_EAT: Final = """
import httpx, json
http = httpx.Client(base_url="http://127.0.0.1:5000", timeout=300)
def submit(function, *args, wait):
    body = {"payload": {"function": function, "args": args}, "max_retries": 0}
    return http.post("/task/submit", params={"wait": wait}, json=body).raise_for_status().json()
beside = submit("sleep", 20, wait=0)["task_id"]
eaten = submit("balloon", 60, 2, 60, wait=240)
print(json.dumps({
    "cause": eaten["failure"]["cause"],
    "beside": http.get(f"/task/{beside}?wait=240").json()["status"],
    "enforcement": http.get("/health").json()["enforcement"]["memory"],
}))
"""


@pytest.fixture(scope="module")
def kernel(installed: Host) -> Iterator[KernelBox]:
    """Boot a machine and put there what systemd/install has made of this checkout elsewhere."""
    machine = KernelBox()
    try:
        machine.boot()
        root = installed.box.root()
        with tarfile.open(machine.share() / "installed.tar", "w") as archive:
            for name in ("opt/vera-worker", "etc/vera-worker", f"etc/systemd/system/{UNIT}"):
                archive.add(root / name, name)
        drop_in = f"/etc/systemd/system/{UNIT}.d"
        (machine.share() / "tests.conf").write_text(_DROP_IN)
        machine.sh(
            f"tar -xf /host/installed.tar -C / && mkdir -p {drop_in} && "
            f"cp /host/tests.conf {drop_in}/ && systemctl daemon-reload",
            timeout_s=300,
        )
        machine.sh(f"systemctl start {UNIT}", timeout_s=600)
        yield machine
    finally:
        machine.down()


def test_the_supervisor_has_a_group_of_its_own(kernel: KernelBox) -> None:
    group = "/sys/fs/cgroup" + kernel.show(UNIT, "ControlGroup")
    main = kernel.show(UNIT, "MainPID")
    assert main in kernel.sh(f"cat {group}/supervisor/cgroup.procs").split()
    assert kernel.sh(f"cat {group}/cgroup.procs") == ""
    assert "memory" in kernel.sh(f"cat {group}/cgroup.subtree_control")
    # Where a group has no processes of its own systemd must still find a place for its helpers.
    kernel.sh(f"systemctl reload {UNIT}")
    assert kernel.show(UNIT, "ActiveState") == "active"


def test_a_task_that_runs_out_of_memory_ends_alone(kernel: KernelBox) -> None:
    before = kernel.show(UNIT, "MainPID")
    (kernel.share() / "eat.py").write_text(_EAT)
    said = kernel.sh("/opt/vera-worker/bin/python /host/eat.py", timeout_s=600)
    assert json.loads(said) == {
        "cause": "memory",
        "beside": "completed",
        "enforcement": "cgroup v2",
    }
    assert kernel.show(UNIT, "MainPID") == before
    assert kernel.show(UNIT, "NRestarts") == "0"
    assert kernel.show(UNIT, "ActiveState") == "active"
    assert "oom" in kernel.sh("dmesg | tail -50").lower(), "the kernel has killed something"


def test_a_stop_leaves_nobody(kernel: KernelBox) -> None:
    group = "/sys/fs/cgroup" + kernel.show(UNIT, "ControlGroup")
    kernel.sh(f"systemctl stop {UNIT}", timeout_s=300)
    assert kernel.show(UNIT, "Result") == "success"
    left = f"cat {group}/cgroup.procs {group}/*/cgroup.procs 2>/dev/null"
    assert kernel.sh(left, check=False) == ""
