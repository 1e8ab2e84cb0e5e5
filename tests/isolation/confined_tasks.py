"""Tasks that say how far they are to be kept apart, and look at what surrounds them."""

import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vera_worker import task

_seen: list[str] = []


def pooled(text: str) -> list[Any]:
    """Return our pid and all that this process was ever told."""
    _seen.append(text)
    return [os.getpid(), *_seen]


@task(isolation="fresh")
def fresh(text: str) -> list[Any]:
    """Return our pid and all that this process was ever told."""
    return pooled(text)


@task(isolation="sandboxed")
def sandboxed() -> dict[str, Any]:
    """Return what there is to see from inside."""
    Path("left-behind").write_text("x", encoding="ascii")
    report = "import os; print(os.getcwd(), open('/proc/self/status').read())"
    child = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return {
        "directory": str(Path.cwd()),
        "mode": Path.cwd().stat().st_mode & 0o777,
        "temporary": tempfile.gettempdir(),
        "home": str(Path.home()),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "file_size": resource.getrlimit(resource.RLIMIT_FSIZE),
        "no_new_privileges": "NoNewPrivs:\t1" in child.stdout,
        "child_inside": child.stdout.startswith(str(Path.cwd())),
        "interfaces": [name for _, name in socket.if_nameindex()],
    }


@task(isolation="sandboxed")
def die_in_sandbox() -> None:
    """Leave a directory that cannot be entered, print where, and die."""
    Path("locked").mkdir(mode=0o000)
    os.write(1, os.fsencode(Path.cwd()))
    os.kill(os.getpid(), 9)


@task(isolation="sandboxed", network=False)
def without_network() -> dict[str, Any]:
    """Try to reach a listener of our own machine."""
    reached = socket.socket().connect_ex(("127.0.0.1", 1))
    return {"interfaces": [name for _, name in socket.if_nameindex()], "error": reached}
