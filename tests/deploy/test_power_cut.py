"""The power is cut while clients submit: nothing that was acknowledged is lost (D2).

It takes a machine with a kernel of its own, which forgets what it was not told to sync.
`VERA_UML_BOX` names a program that runs one: `up`, `share` (print a folder that the machine sees as
/host), `exec`, `crash` (the power cut), `up --keep-disk`, `down`.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.deploy import power_cut_guest
from tests.support.processes import eventually
from tests.support.rounds import rounds

ROOT: Final = Path(__file__).parents[2]
BOX: Final = os.environ.get("VERA_UML_BOX")
STORE: Final = "/var/lib/vera/tasks.db"
ACKNOWLEDGED: Final = "acknowledged"
#: Where the machine finds the worker, and with which it is run.
PLACE: Final = "/opt/vera"
_PATIENCE_S: Final = 300.0
_MOST_TASKS: Final = 120

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(BOX is None, reason="VERA_UML_BOX names no machine to cut the power of"),
]


class Machine:
    """A machine with a disk and a switch."""

    def __init__(self) -> None:
        self._environment = os.environ | {"UML_BOX_NAME": f"power-{os.getpid()}"}

    def do(self, verb: str, *arguments: str) -> str:
        """Have the machine's program do something, which must succeed; return what it printed."""
        done = subprocess.run(
            [str(BOX), verb, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def share(self) -> Path:
        """A folder of ours that the machine sees as /host."""
        return Path(self.do("share").strip())

    def install(self) -> None:
        """Put the worker as it is now on the machine's disk, with all that it needs."""
        version = self.do(
            "exec", "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"
        )
        site = self.share / "site"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(site),
        ]
        pinned = ["--only-binary=:all:", "--python-version", version.strip(), "--require-hashes"]
        requirements = ["-r", str(ROOT / "requirements" / "runtime.txt")]
        subprocess.run([*pip, *pinned, *requirements], check=True)
        subprocess.run([*pip, "--no-build-isolation", str(ROOT)], check=True)
        (self.share / "guest.py").write_text(Path(power_cut_guest.__file__).read_text())
        (self.share / ACKNOWLEDGED).touch()
        self.do("exec", "sh", "-c", f"cp -r /host/site {PLACE}; sync")

    def python(self, *arguments: str) -> str:
        """Run the guest's side of this test."""
        path = f"PYTHONPATH={PLACE}"
        return self.do("exec", "env", path, "python3", "/host/guest.py", *arguments)

    def acknowledged(self) -> int:
        """Return how many tasks were acknowledged so far."""
        return (self.share / ACKNOWLEDGED).read_bytes().count(b"\n")

    def live_until(self, count: int, synchronous: str) -> None:
        """Run a worker and its clients; cut the power when `count` more are acknowledged."""
        wanted = self.acknowledged() + count
        arguments = ("live", STORE, f"/host/{ACKNOWLEDGED}", synchronous)

        def live() -> None:
            with pytest.raises(AssertionError, match="box ended"):
                self.python(*arguments)

        running = threading.Thread(target=live)
        running.start()
        eventually(lambda: self.acknowledged() >= wanted, _PATIENCE_S, f"{count} tasks")
        self.do("crash")
        running.join()
        self.do("up", "--mem", "1G", "--keep-disk")

    def look(self) -> dict[str, Any]:
        """Start the worker once more, and return what it has of all that was acknowledged."""
        found: dict[str, Any] = json.loads(self.python("look", STORE, f"/host/{ACKNOWLEDGED}"))
        return found


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    made.do("up", "--mem", "1G")
    try:
        made.install()
        yield made
    finally:
        made.do("down")


@rounds(3, 50)
def test_nothing_acknowledged_is_lost_with_the_power(machine: Machine, rounds: int) -> None:
    chance = Random(rounds)
    for _ in range(rounds):
        machine.live_until(chance.randint(1, _MOST_TASKS), "full")
        found = machine.look()
        assert found["acknowledged"] > 0
        assert (found["lost"], found["wrong"]) == ([], [])


def test_without_syncs_this_machine_would_have_lost_some(machine: Machine) -> None:
    machine.live_until(_MOST_TASKS // 2, "normal")
    assert machine.look()["lost"], "else the test above proves nothing"
