"""Machines made of files: what the kernel shows on hosts and in containers of several kinds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from vera_supervisor.host import Host
from vera_supervisor.host.machine import Machine

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
UNLIMITED_V1: Final = "9223372036854771712"
CG: Final = "/sys/fs/cgroup"

#: Eight cores and 16 GiB, half of which is free.
HOST: Final = {
    "/proc/meminfo": "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n",
    "/proc/stat": "cpu 0 0 0 0\n" + "".join(f"cpu{n} 0 0 0 0 0 0 0 0\n" for n in range(8)),
}
V2_MOUNT: Final = {
    "/proc/self/mountinfo": f"30 25 0:26 / {CG} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
}
V1_MOUNTS: Final = {
    "/proc/self/mountinfo": "".join(
        f"3{n} 25 0:2{n} {{root}} {CG}/{name} rw - cgroup cgroup rw,{name}\n"
        for n, name in enumerate(["cpu,cpuacct", "cpuset", "memory"])
    )
}


def v1_mounts(root: str = "/") -> dict[str, str]:
    """Return the mounts of a v1 machine that show the part of the tree below `root`."""
    return {name: text.format(root=root) for name, text in V1_MOUNTS.items()}


def write(root: Path, *files: dict[str, str]) -> Machine:
    """Write files below `root` and return the machine that they make."""
    for name, text in {name: text for part in files for name, text in part.items()}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(str(root))


class Ticks:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def host(
    machine: Machine,
    cpus: int = 8,
    now: Ticks | None = None,
    children: Mapping[int, Sequence[int]] = {},
    **maxima: float,
) -> Host:
    """Return the host that a worker with an affinity for the first `cpus` sees on `machine`."""
    return Host(
        machine=machine,
        affinity=lambda: frozenset(range(cpus)),
        now=now or Ticks(),
        children=lambda pid: children.get(pid, ()),
        **maxima,  # type: ignore[arg-type]
    )
