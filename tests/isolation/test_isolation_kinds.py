"""Fresh and sandboxed attempts: nothing of others before them, nothing of them after them."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from tests.isolation.conftest import StartWorker

pytestmark = pytest.mark.system

MODULES = "vera_executor.demo,confined_tasks"
_CLONE_NEWNET = 0x40000000


def may_leave_the_network() -> bool:
    """Try it in a process that ends right after."""
    pid = os.fork()
    if not pid:
        os._exit(0 if ctypes.CDLL(None).unshare(_CLONE_NEWNET) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def test_a_fresh_attempt_has_a_process_to_itself(start_worker: StartWorker) -> None:
    node = start_worker(modules=MODULES, MAX_WORKERS="1", MIN_WORKERS="1")
    for text in "ab":
        assert node.submit("pooled", text, wait=60)["result"][-1] == text
    pids = []
    for text in "cde":
        pid, *seen = node.submit("fresh", text, wait=60)["result"]
        assert seen == [text]
        pids.append(pid)
    assert len(set(pids)) == len(pids)
    assert node.submit("pooled", "f", wait=60)["result"][1:] == ["f"]


def test_many_fresh_attempts_and_others_side_by_side(start_worker: StartWorker) -> None:
    node = start_worker(modules=MODULES, MAX_WORKERS="3")
    asked = [(text, node.submit(text, text)["task_id"]) for text in ["fresh", "pooled"] * 20]
    for text, task_id in asked:
        result = node.record(task_id, wait=60)["result"]
        assert result[1:] == ["fresh"] if text == "fresh" else "fresh" not in result


def test_what_a_sandboxed_attempt_sees(start_worker: StartWorker) -> None:
    node = start_worker(modules=MODULES)
    seen = node.submit("sandboxed", wait=60)["result"]
    directory = Path(seen.pop("directory"))
    assert seen.pop("interfaces")
    assert seen == {
        "mode": 0o700,
        "temporary": str(directory),
        "home": str(directory),
        "core": [0, 0],
        "file_size": [1024**3, 1024**3],
        "no_new_privileges": True,
        "child_inside": True,
    }
    node.terminate()
    assert not directory.parent.exists()


def test_its_directory_goes_with_it_even_when_it_is_killed(start_worker: StartWorker) -> None:
    node = start_worker(modules=MODULES)
    record = node.submit("die_in_sandbox", wait=60)
    assert record["failure"]["cause"] == "crashed"
    directory = Path(record["failure"]["output_tail"].strip())
    assert not directory.exists()
    assert directory.parent.is_dir()
    again = Path(node.submit("sandboxed", wait=60)["result"]["directory"])
    assert again.parent == directory.parent


def test_without_network_there_is_nobody_to_reach(start_worker: StartWorker) -> None:
    node = start_worker(modules=MODULES)
    record = node.submit("without_network", wait=60)
    if may_leave_the_network():
        assert record["result"] == {"interfaces": ["lo"], "error": errno.ENETUNREACH}
    else:  # then it must not run at all
        assert record["failure"]["type"] == "SandboxUnavailable"
        assert "allow unprivileged user namespaces" in record["error"]
    assert node.submit("sleep", 0, wait=60)["status"] == "completed"
