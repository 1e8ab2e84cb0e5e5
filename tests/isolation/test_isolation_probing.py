"""A task that looks around finds no secret of the supervisor and no argument of others (P7)."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.isolation.conftest import StartWorker
from tests.support.patience import until_status

pytestmark = pytest.mark.system

TOKEN = "canary-4f1c0001"
OTHERS = "canary-4f1c0002"
OWN = "canary-4f1c0003"
#: It finds all of these, and not itself.
PATTERN = "canary-[0-9a-f]{8}"
#: Root may look into any process by these capabilities; without them it is a user like all others.
UNPRIVILEGED = """#!{python}
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON = 24, 19, 21, 38
for capability in (CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON):
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
os.execv("{python}", ["{python}", *sys.argv[1:]])
"""


@pytest.fixture
def found(start_worker: StartWorker, tmp_path: Path) -> dict[str, Any]:
    """Return what a task finds while that of another client runs beside it."""
    python = tmp_path / "unprivileged-python"
    python.write_text(UNPRIVILEGED.format(python=sys.executable), encoding="utf-8")
    python.chmod(0o700)
    node = start_worker(
        modules="vera_executor.demo,probing_tasks",
        python=str(python),
        WORKER_TOKEN=TOKEN,
        NOTIFY_SOCKET=str(tmp_path / "nobody-listens"),
        STORE_URL=f"sqlite:///{tmp_path}/tasks.db",
    )
    node.client.headers["authorization"] = f"Bearer {TOKEN}"
    other = node.submit("hold", OTHERS)["task_id"]
    until_status(node, other, "running")
    seen: dict[str, Any] = node.submit("probe", PATTERN, OWN, wait=60)["result"]
    assert node.record(other)["status"] == "running"
    return seen


def test_a_task_finds_no_secret_and_no_argument_of_others(found: dict[str, Any]) -> None:
    assert found["memory"] == [OWN]
    assert TOKEN not in str(found)
    assert OTHERS not in str(found)
    assert "NOTIFY_SOCKET" not in str(found)
    assert [path for path in found["open"] if "tasks.db" in path] == []
    assert found["sockets"] == []


def test_a_task_cannot_look_into_the_supervisor(found: dict[str, Any]) -> None:
    assert "environ" in found["server"], "of what it may look into, it sees something"
    assert found["supervisor"] == []
