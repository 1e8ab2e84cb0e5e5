"""Machines for tests that need a real systemd, a kernel or a container engine of their own.

They are made by scripts beside this checkout, in `../shared/boxes` or where VERA_BOXES says, which
need root. Where there are none, or where one does not come up, the tests that need it are skipped,
and say why.
"""

import os
import subprocess
import uuid
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CHOSEN: Final = os.environ.get("VERA_DEPLOY") == "1"
_BOXES: Final = Path(os.environ.get("VERA_BOXES", ROOT.parent / "shared" / "boxes"))
#: The first box of a kind is built, from packages; those after it are there in seconds.
_BUILD_S: Final = 900
#: How often what comes over a network is asked for.
_TRIES: Final = 3
#: What systemd/install needs of this checkout, and the clutter in it that no box needs.
_PARTS: Final = (
    *("LICENSE", "README.md", "pyproject.toml", "requirements", "config", "systemd"),
    *("vera_worker", "supervisor", "executor", "client"),
)


def reason_to_skip(script: str) -> str | None:
    """Return why tests that need the boxes of a script cannot run; None where they can."""
    if not CHOSEN:
        return "needs minutes, root and boxes: make test-deploy"
    if os.geteuid() != 0:
        return "boxes need root"
    if not os.access(_BOXES / script, os.X_OK):
        return f"there is no {_BOXES / script}: VERA_BOXES names the directory"
    return None


def box_tests(script: str) -> list[pytest.MarkDecorator]:
    """Return the marks of tests that need the boxes of a script."""
    reason = reason_to_skip(script)
    return [
        pytest.mark.deploy,
        pytest.mark.timeout(_BUILD_S + 600),
        pytest.mark.skipif(reason is not None, reason=reason or ""),
    ]


def run(
    *command: str | Path, timeout_s: float = 120, check: bool = True, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; where it has to succeed, what it wrote is in the failure."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
        **more,
    )
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done


def copy_checkout(to: Path) -> None:
    """Copy what systemd/install needs, as a checkout of it would have it."""
    to.mkdir(parents=True, exist_ok=True)  # where a fixture failed half-way it is tried again
    run("cp", "-r", *(ROOT / part for part in _PARTS), to)


class Box:
    """A machine that a script makes. `exec` is the words before a command that runs in it."""

    def __init__(self, script: str, exec_: tuple[str, ...], environment: dict[str, str]) -> None:
        self._script = _BOXES / script
        self._exec = exec_
        self._environment = os.environ | environment

    def control(
        self, *words: str, timeout_s: float = 120, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Have the script do something with the machine."""
        return run(self._script, *words, timeout_s=timeout_s, check=check, env=self._environment)

    def up(self, *words: str) -> None:
        """Boot it; where that fails the test is skipped: it is not our program that failed."""
        for _ in range(_TRIES):
            try:
                done = self.control(*words, timeout_s=_BUILD_S, check=False)
            except subprocess.TimeoutExpired as late:
                pytest.skip(f"{self._script.name} did not come up within {late.timeout:.0f} s")
            if done.returncode == 0:
                return
        pytest.skip(f"{self._script.name} did not come up: {done.stdout[-500:]}")

    def sh(self, script: str, *, timeout_s: float = 120, check: bool = True) -> str:
        """Run a shell script in it, and return what that printed."""
        done = self.control(*self._exec, "sh", "-c", script, timeout_s=timeout_s, check=check)
        return done.stdout.strip()

    def fetch(self, script: str, *, timeout_s: float = 300) -> None:
        """Run a shell script that gets packages, again where that fails; else skip the test."""
        for _ in range(_TRIES):
            done = self.control(*self._exec, "sh", "-c", script, timeout_s=timeout_s, check=False)
            if done.returncode == 0:
                return
        pytest.skip(f"the box has no way to packages: {done.stdout[-500:]}")

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.sh(f"systemctl show --property {name} --value {unit}")


class SystemdBox(Box):
    """A Debian with systemd, which shares this machine's network."""

    def __init__(self) -> None:
        self.name = f"vera-{uuid.uuid4().hex[:8]}"
        super().__init__("systemd-box", ("exec", "--name", self.name), {})

    def boot(self) -> None:
        """Boot it, once."""
        self.up("up", "--name", self.name)
        (self.root() / "etc/apt/apt.conf.d/80retries").write_text('Acquire::Retries "5";\n')

    def reboot(self) -> None:
        """Power it off in order, and boot it again."""
        self.control("reboot", "--name", self.name)

    def root(self) -> Path:
        """Return where its files are, seen from here."""
        return Path(self.control("root", "--name", self.name).stdout.strip())

    def down(self) -> None:
        """Power it off and remove it."""
        self.control("down", "--name", self.name, check=False)


class KernelBox(Box):
    """A machine with a kernel of its own, where control groups have all controllers; it is slow."""

    def __init__(self) -> None:
        name = {"UML_BOX_NAME": f"vera-{uuid.uuid4().hex[:8]}"}
        super().__init__("uml-box", ("exec",), name)

    def boot(self) -> None:
        """Boot it, once."""
        self.up("up")

    def share(self) -> Path:
        """Return the folder that it sees as /host."""
        return Path(self.control("share").stdout.strip())

    def down(self) -> None:
        """Power it off and remove its disk."""
        self.control("down", check=False)
