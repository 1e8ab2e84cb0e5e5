"""What processes have used so far, as the kernel tells while they live."""

import os
from collections.abc import Callable, Iterable
from typing import Final

from vera_supervisor.host.machine import Machine
from vera_worker import process_tree

_KIB: Final = 1024
#: In /proc/PID/stat, after the name: utime stime cutime cstime.
_STAT_TIMES: Final = slice(11, 15)
_TICKS: Final = os.sysconf("SC_CLK_TCK")
#: Of a larger tree only a part is looked at: a fork bomb must not keep us from all else.
_MOST: Final = 64


#: How to find the processes that one has started.
Children = Callable[[int], Iterable[int]]


def cpu_seconds(machine: Machine, pid: int) -> float:
    """Return the CPU time of a process and of those of its children that have ended; 0: gone."""
    _, _, stat = (machine.text(f"/proc/{pid}/stat") or "").rpartition(")")
    return sum(int(ticks) for ticks in stat.split()[_STAT_TIMES]) / _TICKS


def tree_cpu_seconds(
    machine: Machine, pid: int, children: Children = process_tree.children
) -> float:
    """Return the CPU time of a process and of all below it, those that have ended included."""
    pids = [pid]
    for parent in pids:  # grows while it is walked
        if len(pids) >= _MOST:
            break
        pids += children(parent)
    return sum(cpu_seconds(machine, each) for each in pids[:_MOST])


def peak_bytes(machine: Machine, pid: int) -> int:
    """Return the most memory that a process had, since that was last reset; 0: it is gone."""
    return machine.fields(f"/proc/{pid}/status").get("VmHWM", 0) * _KIB
