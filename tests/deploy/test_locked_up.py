"""C6 without a container engine: no rights, and nothing to write to but what a worker is given."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.worker_process import WorkerProcess, worker

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="a root that is read-only needs root"),
]

#: Every mount is read-only, but those of the kernel's own that are so in containers neither; then
#: all capabilities go, for good.
_LOCK_UP: Final = """#!/bin/sh
unset COVERAGE_PROCESS_CONFIG  # it would have nowhere to write
exec unshare --mount sh -ec '
mount --bind {place} {place}
for each in $(awk "\\$3 !~ /^(proc|devpts|devtmpfs)$/ {{print \\$2}}" /proc/self/mounts); do
    [ $each = {place} ] || mount -o remount,bind,ro $each
done
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs {python} "$@"' sh "$@"
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory that sockets may lie below: their paths are of 107 bytes at most."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def locked_up(tmp_path: Path, short_path: Path) -> Iterator[WorkerProcess]:
    """Run a worker that would have control groups, if it could."""
    place, python = short_path / "place", tmp_path / "python"
    (place / "tmp").mkdir(parents=True)
    python.write_text(_LOCK_UP.format(place=place, python=sys.executable))
    python.chmod(0o700)
    (tmp_path / "worker.toml").write_text('[tasks.functions.echo]\nisolation = "sandboxed"\n')
    settings = {
        "VERA_CONFIG": str(tmp_path / "worker.toml"),
        "TMPDIR": str(place / "tmp"),
        "STORE_URL": f"sqlite:///{place}/var/tasks.db",
        "TASK_MEMORY": "128MiB",
        "VERA_LIMITS__KILL_GRACE": "0.5",
        "VERA_EXECUTOR__CONTROL_GROUPS": "true",
    }
    with worker(tmp_path, python=str(python), **settings) as node:
        yield node
        assert node.terminate() == 0
        assert node.survivors() == []
        assert "Traceback" not in node.log.read_text()


def test_tasks_live_and_die_where_nothing_is_permitted(locked_up: WorkerProcess) -> None:
    node = locked_up
    files = Path(f"/proc/{node.process.pid}/root/etc")
    with pytest.raises(OSError, match="Read-only file system"):
        (files / "mark").touch()
    status = Path(f"/proc/{node.process.pid}/status").read_text().split()
    assert int(status[status.index("CapEff:") + 1], 16) == 0
    assert status[status.index("NoNewPrivs:") + 1] == "1"
    health = node.client.get("/health").json()
    assert health["enforcement"] == {
        "memory": "sampling",
        "processes": "none",
        "kill": "process tree",
    }
    assert node.submit("process_data", 1, 2, 3, wait=30)["result"]["total"] == 14
    assert node.submit("echo", "sandboxed", wait=30)["status"] == "completed"
    for function, arguments, timeout_s, cause in (
        ("fail", [], 30, "exception"),
        ("segfault", [], 30, "crashed"),
        ("hang_in_c", [], 0.5, "timeout"),
        ("balloon", [60, 3, 20], 30, "memory"),
    ):
        ended = node.submit(function, *arguments, wait=30, max_retries=0, timeout=timeout_s)
        assert ended["failure"]["cause"] == cause
    running = node.submit("busy_loop")["task_id"]
    assert node.client.delete(f"/task/{running}").status_code == 200
    noisy = node.submit("print_everywhere", "hello", wait=30)["task_id"]
    assert "hello from C" in node.client.get(f"/task/{noisy}/output").text
    assert node.submit("spawn_daemon", 600, wait=30)["status"] == "completed"
