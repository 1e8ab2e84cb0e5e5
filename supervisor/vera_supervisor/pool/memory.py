"""How much memory a process uses together with all that descend from it."""

import os
from typing import Final

from vera_worker import process_tree

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_KIB: Final = 1024


def tree_bytes(pid: int, limit_bytes: int) -> int:
    """Return the bytes that a process tree holds; exact only where that may exceed the limit.

    What processes share counts once, in equal parts. To find that out takes the kernel a walk
    through all their pages, so it is asked only when their sum with everything shared is too much.
    """
    pids = [pid, *process_tree.descendants(pid)]
    resident = sum(map(resident_bytes, pids))
    return resident if resident <= limit_bytes else sum(map(_proportional_bytes, pids))


def resident_bytes(pid: int) -> int:
    """Return the bytes of memory that a process holds, with all that it shares; 0: it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0  # it is gone


def _proportional_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * _KIB
    except OSError:  # it is gone, or the kernel does not tell
        pass
    return resident_bytes(pid)
