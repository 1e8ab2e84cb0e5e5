"""Tasks that look for what is none of their business."""

import ctypes
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

_PTRACE_SEIZE = 0x4206
_libc = ctypes.CDLL(None, use_errno=True)


def hold(secret: str) -> str:
    """Have an argument for as long as somebody might look for it."""
    time.sleep(300)
    return secret


def probe(pattern: str, _own: str) -> dict[str, Any]:
    """Return what a task can find in its own process, and of those that it runs beside."""
    server, supervisor = psutil.Process().parents()[:2]
    return {
        "environ": dict(os.environ),
        "started_with": Path("/proc/self/environ").read_text(encoding="utf-8"),
        "open": [str(Path(f"/proc/self/fd/{fd}").resolve()) for fd in os.listdir("/proc/self/fd")],
        "sockets": [kind.family.name for kind in psutil.Process().net_connections()],
        "memory": sorted(set(_remembered(pattern.encode()))),
        "server": _pry(server.pid),
        "supervisor": _pry(supervisor.pid),
    }


def _remembered(pattern: bytes) -> Iterator[str]:
    """Yield what fits in the memory that this process could ever write to."""
    for line in Path("/proc/self/maps").read_text(encoding="ascii").splitlines():
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if rights.startswith("rw"):
            with suppress(OSError), open("/proc/self/mem", "rb", buffering=0) as memory:
                memory.seek(start)
                for found in re.findall(pattern, memory.read(end - start)):
                    yield found.decode()


def _pry(pid: int) -> list[str]:
    """Return by which ways another process of our user can be looked into."""
    ways: dict[str, Callable[[], object]] = {
        "environ": Path(f"/proc/{pid}/environ").read_bytes,
        "memory": lambda: open(f"/proc/{pid}/mem", "rb").close(),
        "descriptors": lambda: os.readlink(f"/proc/{pid}/fd/2"),
        "ptrace": lambda: _seize(pid),
    }
    found = []
    for name, look in ways.items():
        with suppress(OSError):
            look()
            found.append(name)
    return found


def _seize(pid: int) -> None:
    """Become its debugger, which stops nothing and ends with this process."""
    if _libc.ptrace(_PTRACE_SEIZE, pid, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
