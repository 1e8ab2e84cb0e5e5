"""The power is cut while clients submit: nothing that was acknowledged is lost (D2).

It takes a machine with a kernel of its own, which forgets what it was not told to sync.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.deploy import power_cut_guest
from tests.deploy.own_kernel import BOX, PLACE, Machine
from tests.support.processes import eventually
from tests.support.rounds import rounds

STORE: Final = "/var/lib/vera/tasks.db"
ACKNOWLEDGED: Final = "acknowledged"
_PATIENCE_S: Final = 300.0
_MOST_TASKS: Final = 120

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(BOX is None, reason="VERA_UML_BOX names no machine to cut the power of"),
]


class Powered(Machine):
    """A machine with a disk and a switch."""

    def prepare(self) -> None:
        """Put the worker and the guest's side of this test there."""
        self.install()
        (self.share / "guest.py").write_text(Path(power_cut_guest.__file__).read_text())
        (self.share / ACKNOWLEDGED).touch()

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
def machine() -> Iterator[Powered]:
    made = Powered(f"power-{os.getpid()}")
    made.do("up", "--mem", "1G")
    try:
        made.prepare()
        yield made
    finally:
        made.do("down")


@rounds(3, 50)
def test_nothing_acknowledged_is_lost_with_the_power(machine: Powered, rounds: int) -> None:
    chance = Random(rounds)
    for _ in range(rounds):
        machine.live_until(chance.randint(1, _MOST_TASKS), "full")
        found = machine.look()
        assert found["acknowledged"] > 0
        assert (found["lost"], found["wrong"]) == ([], [])


def test_without_syncs_this_machine_would_have_lost_some(machine: Powered) -> None:
    machine.live_until(_MOST_TASKS // 2, "normal")
    assert machine.look()["lost"], "else the test above proves nothing"
