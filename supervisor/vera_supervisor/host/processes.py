"""What one process has used so far, as the kernel tells while it lives."""

import os
from typing import Final

from vera_supervisor.host.machine import Machine

_KIB: Final = 1024
#: In /proc/PID/stat, after the name: utime stime cutime cstime.
_STAT_TIMES: Final = slice(11, 15)
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(machine: Machine, pid: int) -> float:
    """Return the CPU time of a process and of those of its children that have ended; 0: gone."""
    _, _, stat = (machine.text(f"/proc/{pid}/stat") or "").rpartition(")")
    return sum(int(ticks) for ticks in stat.split()[_STAT_TIMES]) / _TICKS


def peak_bytes(machine: Machine, pid: int) -> int:
    """Return the most memory that a process had, since that was last reset; 0: it is gone."""
    return machine.fields(f"/proc/{pid}/status").get("VmHWM", 0) * _KIB
