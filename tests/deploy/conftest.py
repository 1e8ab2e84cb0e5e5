"""One Debian with systemd and the worker installed in it, by the commands that the README gives."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest

from tests.support.boxes import ROOT, SystemdBox, copy_checkout
from tests.support.ports import free_ports

UNIT: Final = "vera-worker.service"
DRAIN_S: Final = 5
_PATIENCE_S: Final = 60
#: For a box that shares this machine's ports, and for tests that are not to take minutes.
_FOR_TESTS: Final = """[Service]
Environment=WORKER_PORT={port} VERA_SERVER__DRAIN_TIMEOUT={drain}
Environment=TASK_MODULES=vera_executor.demo,vera_executor.demo_faults,box_tasks
Environment=MAX_CPU_PERCENT=100 MAX_MEMORY_PERCENT=100 VERA_LOGGING__TASK_OUTPUT=true
WatchdogSec=8s
RestartSec=200ms
TimeoutStopSec=3s
"""
#: In the place for task modules.
_TASKS: Final = """
def say(text):
    print(text)
"""


class Host:
    """A host with the worker as a service, and a client of it."""

    def __init__(self, box: SystemdBox, port: int) -> None:
        self.box = box
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=100, trust_env=False
        )

    def submit(self, function: str, *args: Any, wait: float | None = None, **fields: Any) -> Any:
        """Submit a task and return the answer, which must be a 2xx."""
        query = {} if wait is None else {"wait": wait}
        body = {"payload": {"function": function, "args": args}} | fields
        answer = self.client.post("/task/submit", params=query, json=body)
        return answer.raise_for_status().json()

    def record(self, task_id: str, wait: float = 0) -> Any:
        """Return the record of a task, once it has ended or after `wait` seconds."""
        return self.client.get(f"/task/{task_id}", params={"wait": wait}).raise_for_status().json()

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.box.show(UNIT, name)

    def journal(self, options: str = "") -> str:
        """Return what the journal has of the unit."""
        return self.box.sh(f"journalctl --no-pager --unit {UNIT} {options}")

    def until(self, said: Callable[[], bool], what: str) -> None:
        """Ask until it is so."""
        end = time.monotonic() + _PATIENCE_S
        while not said():
            assert time.monotonic() < end, f"{what}\n{self.journal('--lines 40')}"
            time.sleep(0.1)

    def until_restarted(self, before: str) -> None:
        """Wait until systemd has started another process instead of that one, and it is ready."""

        def restarted() -> bool:
            return self.show("MainPID") not in (before, "0") and self.show("SubState") == "running"

        self.until(restarted, f"another process than {before}")

    def restart(self) -> None:
        """Begin a test with a fresh worker, whatever the last one left."""
        self.box.sh(f"systemctl reset-failed {UNIT}; systemctl restart {UNIT}")


def readme_commands(heading: str) -> list[str]:
    """Return the lines of the first block of code after a heading of the README."""
    section = (ROOT / "README.md").read_text().split(f"\n## {heading}\n", 1)[1]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [line.partition(" #")[0].strip() for line in block[1].splitlines()]


@pytest.fixture(scope="session")
def box() -> Iterator[SystemdBox]:
    """Boot a Debian without what a bare one does not have."""
    machine = SystemdBox()
    try:
        machine.boot()
        yield machine
    finally:
        machine.down()


@pytest.fixture(scope="session")
def installed(box: SystemdBox) -> Iterator[Host]:
    """Install the worker as the README says; its ports are this machine's."""
    (port,) = free_ports(1)
    box.fetch("apt-get update -qq")
    box.sh("dpkg --purge python3-venv python3.11-venv")
    files = box.root()
    copy_checkout(files / "srv" / "vera-worker")
    drop_in = files / "etc/systemd/system" / f"{UNIT}.d" / "tests.conf"
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text(_FOR_TESTS.format(port=port, drain=DRAIN_S))
    tasks = files / "etc/vera-worker/tasks/box_tasks.py"
    tasks.parent.mkdir(parents=True, exist_ok=True)
    tasks.write_text(_TASKS)
    commands = readme_commands("As a service")
    assert len(commands) <= 3
    # Who is root here has no sudo.
    first = f'set -e; sudo() {{ "$@"; }}; export PIP_RETRIES=10 VERA_URL=http://127.0.0.1:{port}'
    script = "\n".join((first, "cd /srv/vera-worker", *commands))
    box.sh(script, timeout_s=600)
    host = Host(box, port)
    with host.client:
        yield host


@pytest.fixture
def host(installed: Host) -> Host:
    """Return the host with a worker that was started just now."""
    installed.restart()
    return installed
