"""How much this worker may use: the least that anything above it allows."""

from collections.abc import Iterator
from typing import Final

import msgspec

from vera_supervisor.host.groups import Groups
from vera_supervisor.host.machine import Machine

_KIB: Final = 1024


class CpuQuota(msgspec.Struct, frozen=True):
    """A group that may use so many cores, and the file that counts what it has used."""

    cores: float
    counter: str


class MemoryBound(msgspec.Struct, frozen=True):
    """A group, or the machine, that may use so many bytes."""

    limit_bytes: int
    #: The directory of the group; None for the machine.
    group: str | None
    unified: bool = False


class Allowance(msgspec.Struct, frozen=True):
    """What this worker may use at most."""

    cores: float
    memory_bytes: int
    #: The CPUs that it may run on.
    cpus: frozenset[int]
    quotas: tuple[CpuQuota, ...]
    bounds: tuple[MemoryBound, ...]


def read(
    machine: Machine,
    groups: Groups,
    affinity: frozenset[int],
    max_cores: float | None = None,
    max_memory_bytes: int | None = None,
) -> Allowance:
    """Return what `machine`, the groups, the affinity and the configured maxima leave."""
    cpus = affinity & (_cpuset(machine, groups) or affinity) or affinity
    quotas = tuple(_quotas(machine, groups))
    bounds = tuple(_bounds(machine, groups))
    cores = min([float(len(cpus)), *(quota.cores for quota in quotas)])
    memory = min(bound.limit_bytes for bound in bounds)
    return Allowance(
        cores=cores if max_cores is None else min(cores, max_cores),
        memory_bytes=memory if max_memory_bytes is None else min(memory, max_memory_bytes),
        cpus=cpus,
        quotas=quotas,
        bounds=bounds,
    )


def _quotas(machine: Machine, groups: Groups) -> Iterator[CpuQuota]:
    for group in groups.unified:
        quota, _, period = (machine.text(f"{group}/cpu.max") or "").partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield CpuQuota(int(quota) / int(period), f"{group}/cpu.stat")
    mount, counters = groups.legacy.get("cpu", ()), groups.legacy.get("cpuacct", ())
    for number, group in enumerate(mount):
        limit = machine.number(f"{group}/cpu.cfs_quota_us")
        length = machine.number(f"{group}/cpu.cfs_period_us")
        if limit is not None and limit > 0 and length:
            # The hierarchy of cpuacct is nearly always the same as that of cpu.
            counter = counters[number] if len(counters) == len(mount) else group
            yield CpuQuota(limit / length, f"{counter}/cpuacct.usage")


def _bounds(machine: Machine, groups: Groups) -> Iterator[MemoryBound]:
    total = machine.fields("/proc/meminfo").get("MemTotal", 0) * _KIB
    yield MemoryBound(total, None)
    for group in groups.unified:
        for name in ("memory.max", "memory.high"):  # above `high` a group is slowed to a crawl
            limit = machine.number(f"{group}/{name}")
            if limit is not None and limit < total:
                yield MemoryBound(limit, group, unified=True)
    for group in groups.legacy.get("memory", ()):
        limit = machine.number(f"{group}/memory.limit_in_bytes")
        if limit is not None and limit < total:  # v1 writes "no limit" as a huge number
            yield MemoryBound(limit, group)


def _cpuset(machine: Machine, groups: Groups) -> frozenset[int] | None:
    for name in (
        *(f"{group}/cpuset.cpus.effective" for group in groups.unified),
        *(f"{group}/cpuset.effective_cpus" for group in groups.legacy.get("cpuset", ())),
        *(f"{group}/cpuset.cpus" for group in groups.legacy.get("cpuset", ())),
    ):
        cpus = cpu_list(machine.text(name) or "")
        if cpus:
            return cpus
    return None


def cpu_list(text: str) -> frozenset[int]:
    """Return the numbers of a list like "0-3,8"; the empty set for what is none."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return frozenset()
        cpus.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(cpus)
