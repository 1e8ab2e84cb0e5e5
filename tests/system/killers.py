"""Tasks that kill the supervisor, as any task of its user can."""

import os
import signal
from pathlib import Path

from vera_worker import task


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@task
def kill_the_supervisor() -> None:
    """Kill the parent of the fork server that started this executor, and wait for the end."""
    os.kill(_parent(os.getppid()), signal.SIGKILL)
    signal.pause()


@task(idempotent=False)
def kill_the_supervisor_once() -> None:
    """Do the same, and never twice."""
    kill_the_supervisor()


@task
def harmless() -> str:
    """Do nothing."""
    return "done"
