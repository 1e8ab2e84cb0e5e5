"""How much of its allowance is in use, by whomever."""

import os
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from vera_supervisor.host.allowance import Allowance, MemoryBound
from vera_supervisor.host.groups import Groups
from vera_supervisor.host.machine import Machine
from vera_supervisor.host.processes import Children, cpu_seconds, tree_cpu_seconds

_KIB: Final = 1024
_MIB: Final = 1024 * 1024
_PERCENT: Final = 100.0
_MICRO: Final = 1e-6
_NANO: Final = 1e-9
#: In /proc/stat: user nice system idle iowait irq softirq steal; guests are part of user and nice.
_TIMES: Final = 8
_IDLE: Final = (3, 5)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One look."""

    #: Use of the scarcest CPU time that this worker depends on, since the last look.
    cpu_percent: float = 0.0
    #: The part of it that this worker uses, with all processes that its tasks have started.
    own_cpu_percent: float = 0.0
    #: Seconds that each executor has used so far, with all that it started, by process id.
    executors_cpu_s: Mapping[int, float] = {}
    #: Use of the scarcest memory, without what the kernel could take back at once.
    memory_percent: float = 0.0
    #: In the group, or on the machine, that sets the limit.
    memory_used_mb: float = 0.0
    #: Share of the time in which some process waited for memory; None where not told.
    memory_pressure_percent: float | None = None


class Sampler:
    """Reads the counters, and compares them with those of the last time."""

    def __init__(self, machine: Machine, groups: Groups, children: Children) -> None:
        self._machine = machine
        self._children = children
        self._groups = groups
        self._at = 0.0
        self._busy: tuple[float, float] = (0.0, 0.0)
        self._used: dict[str, float] = {}
        self._own_s = 0.0
        self._stalled: float | None = None
        self._pressure_file = self._find_pressure_file()

    def look(self, allowance: Allowance, now: float, executors: Iterable[int] = ()) -> Usage:
        """Return how things stand at `now`, in seconds on the monotonic clock."""
        passed, self._at = now - self._at, now
        percent, used = self._memory(allowance)
        cpu = self._cpu(allowance, passed)
        trees = {pid: tree_cpu_seconds(self._machine, pid, self._children) for pid in executors}
        return Usage(
            cpu_percent=round(cpu, 1),
            own_cpu_percent=round(min(cpu, self._own_cpu(trees, allowance.cores, passed)), 1),
            executors_cpu_s=trees,
            memory_percent=round(percent, 1),
            memory_used_mb=round(used / _MIB, 1),
            memory_pressure_percent=self._memory_pressure(passed),
        )

    def _cpu(self, allowance: Allowance, passed: float) -> float:
        (busy, total), before = self._cpu_times(allowance.cpus), self._busy
        self._busy = busy, total
        shares = [(busy - before[0]) / (total - before[1])] if total > before[1] else []
        used: dict[str, float] = {}
        for quota in allowance.quotas:
            seconds = self._cpu_seconds(quota.counter)
            if seconds is None:
                continue
            used[quota.counter] = seconds
            if quota.counter in self._used and passed > 0:
                shares.append((seconds - self._used[quota.counter]) / (passed * quota.cores))
        self._used = used
        return _PERCENT * min(1.0, max(shares, default=0.0))

    def _own_cpu(self, trees: Mapping[int, float], cores: float, passed: float) -> float:
        """Return the percentage that this worker has used since the look before."""
        pid, before = os.getpid(), self._own_s
        # Our children are the fork servers: what executors used that are gone is in their numbers.
        others = (pid, *(child for child in self._children(pid) if child not in trees))
        used = sum(cpu_seconds(self._machine, each) for each in others)
        self._own_s = used + sum(trees.values())
        return _PERCENT * max(0.0, self._own_s - before) / (passed * cores) if passed > 0 else 0.0

    def _cpu_times(self, cpus: frozenset[int]) -> tuple[float, float]:
        """Return how much of their time these CPUs were busy, and how much time there was."""
        busy = total = 0.0
        for line in self._machine.lines("/proc/stat"):
            name, *fields = line.split() or [""]
            number = name.removeprefix("cpu")
            if name.startswith("cpu") and number.isdecimal() and int(number) in cpus:
                times = [float(field) for field in fields[:_TIMES] if field.isdecimal()]
                total += sum(times)
                busy += sum(times) - sum(times[slice(*_IDLE)])
        return busy, total

    def _cpu_seconds(self, counter: str) -> float | None:
        if counter.endswith("cpu.stat"):
            microseconds = self._machine.fields(counter).get("usage_usec")
            return None if microseconds is None else microseconds * _MICRO
        nanoseconds = self._machine.number(counter)
        return None if nanoseconds is None else nanoseconds * _NANO

    def _memory(self, allowance: Allowance) -> tuple[float, float]:
        """Return the percentage of the scarcest memory, and bytes used where it is limited most."""
        used = {bound: self._used_bytes(bound) for bound in allowance.bounds}
        tightest = min(allowance.bounds, key=lambda bound: bound.limit_bytes)
        percent = max(_PERCENT * used[bound] / max(1, bound.limit_bytes) for bound in used)
        return min(_PERCENT, percent), used[tightest]

    def _used_bytes(self, bound: MemoryBound) -> int:
        machine, group = self._machine, bound.group
        if group is None:
            memory = machine.fields("/proc/meminfo")
            return (memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)) * _KIB
        name = "memory.current" if bound.unified else "memory.usage_in_bytes"
        cached = "inactive_file" if bound.unified else "total_inactive_file"
        used = machine.number(f"{group}/{name}") or 0
        return max(0, used - machine.fields(f"{group}/memory.stat").get(cached, 0))

    def _find_pressure_file(self) -> str:
        for group in self._groups.unified[:1]:
            if self._machine.exists(f"{group}/memory.pressure"):
                return f"{group}/memory.pressure"
        return "/proc/pressure/memory"

    def _memory_pressure(self, passed: float) -> float | None:
        """Return the share of the time since the last look; the kernel's averages come too late."""
        for line in self._machine.lines(self._pressure_file):
            kind, *fields = line.split() or [""]
            stalled = fields[-1].removeprefix("total=") if fields else ""
            if kind == "some" and stalled.isdecimal():
                total = int(stalled) * _MICRO
                before, self._stalled = self._stalled, total
                if before is None or passed <= 0:
                    return 0.0
                return round(_PERCENT * min(1.0, (total - before) / passed), 1)
        return None
