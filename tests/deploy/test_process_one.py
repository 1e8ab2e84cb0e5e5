"""C3 without a container engine: the worker as the first process of a namespace."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import command_line, eventually, slack_s, state
from tests.support.worker_process import WorkerProcess, worker
from vera_supervisor.housekeeping import REAP_INTERVAL_S
from vera_worker import process_tree

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of processes need root"),
]

_ORPHANS = 1000


@pytest.fixture
def first(tmp_path: Path) -> Iterator[tuple[WorkerProcess, int]]:
    """Start a worker as process 1; yield it with its pid as it is seen from here."""
    python = tmp_path / "python"
    unshare = "unshare --pid --fork --kill-child --mount-proc"
    python.write_text(f'#!/bin/sh\nexec {unshare} {sys.executable} "$@"\n')
    python.chmod(0o700)
    with worker(tmp_path, python=str(python)) as node:
        (pid,) = process_tree.children(node.process.pid)
        yield node, pid


def test_orphans_are_buried_whoever_left_them(first: tuple[WorkerProcess, int]) -> None:
    node, pid = first
    enter = ("nsenter", f"--target={pid}", "--pid", "--mount")
    leave = f"for i in $(seq {_ORPHANS}); do (true &); done; (sleep 611 &)"
    subprocess.run([*enter, "sh", "-c", leave], check=True, timeout=60)

    def zombies() -> list[int]:
        return [child for child in process_tree.descendants(pid) if state(child) == "Z"]

    eventually(lambda: not zombies(), REAP_INTERVAL_S + 5 + slack_s(), "they are buried")
    # What still runs is let alone, and what the worker itself waits for is no stranger.
    slept = node.submit("sleep", 2.5 * REAP_INTERVAL_S, wait=60)
    assert (slept["status"], slept["attempt"]) == ("completed", 1)
    assert b"sleep\x00611\x00" in map(command_line, process_tree.children(pid))
    assert node.submit("spawn_daemon", 600, wait=60)["status"] == "completed"
    assert node.submit("segfault", wait=60, max_retries=0)["failure"]["cause"] == "crashed"
    assert node.submit("noop", wait=60)["status"] == "completed"


def test_it_takes_the_signal_itself(first: tuple[WorkerProcess, int]) -> None:
    node, pid = first
    os.kill(pid, signal.SIGTERM)  # which process 1 gets only because it asked for it
    assert node.process.wait(60) == 0
    assert node.log.read_text().splitlines()[-1].endswith("stopped")
