"""systemd/install-hosts, with a stand-in for ssh: what is sent, and what is said of each host."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.boxes import copy_checkout

#: Runs what it is sent on this machine, in a directory of the host's own.
_SSH = """#!/bin/sh
[ "$1" = -q ] || exit 99
mkdir -p "$PLACE/$2"
[ "$2" != unreachable ] || { echo "ssh: no route to host" >&2; exit 255; }
tee "$PLACE/$2.tar.gz" | HOST=$2 TMPDIR=$PLACE/$2 sh -c "$3"
"""
_INSTALL = """#!/bin/sh
echo "installed $*"
[ "$HOST" != refuses ] || exit 3
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Copy the checkout, with a stand-in for what would be run; return where the hosts are."""
    checkout = tmp_path / "checkout"
    copy_checkout(checkout)
    (checkout / "systemd" / "install").write_text(_INSTALL)
    (checkout / ".venv").mkdir()
    ssh = tmp_path / "ssh"
    ssh.write_text(_SSH)
    ssh.chmod(0o700)
    return tmp_path / "hosts"


def install(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [place.parent / "checkout" / "systemd" / "install-hosts", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"SSH": f"{place.parent / 'ssh'} -q", "PLACE": str(place)},
        timeout=100,
        check=False,
    )


def test_each_host_is_sent_the_checkout_and_installs_it(place: Path) -> None:
    done = install(place, "w1", "ops@w2")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert {"w1: installed ", "ops@w2: installed "} <= set(lines)
    assert lines[-2:] == ["w1: done", "ops@w2: done"]
    names = subprocess.run(
        ["tar", "-tzf", place / "w1.tar.gz"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"systemd/install", "requirements/runtime.txt", "pyproject.toml"} <= set(names)
    assert not [name for name in names if name.startswith((".git", ".venv", "tests"))]
    assert list((place / "w1").iterdir()) == [], "nothing is left there"


def test_a_host_that_fails_is_named_and_the_others_are_done(place: Path) -> None:
    done = install(place, "unreachable", "w1", "refuses")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-3:] == [
        "unreachable: failed, exit status 255",
        "w1: done",
        "refuses: failed, exit status 3",
    ]
    assert "unreachable: ssh: no route to host" in done.stdout.splitlines()


def test_the_same_removes_it(place: Path) -> None:
    done = install(place, "--uninstall", "w1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "w1: installed --uninstall" in done.stdout.splitlines()


@pytest.mark.parametrize(
    "arguments",
    [(), ("--uninstall",), ("--help",), ("--bogus", "w1"), ("w1", "--uninstall"), ("",)],
)
def test_wrong_use_is_told_how_to_do_it(place: Path, arguments: tuple[str, ...]) -> None:
    done = install(place, *arguments)
    assert done.returncode == 2
    assert "systemd/install-hosts user@host" in done.stderr
    assert not place.exists(), "no host was asked for anything"
