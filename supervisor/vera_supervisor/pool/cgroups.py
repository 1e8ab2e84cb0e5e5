"""A control group for each executor: what it starts cannot leave, and the kernel can limit it.

Where the worker may make groups below its own (systemd's `Delegate=yes`, root on a host) this is
safer and faster than walking process trees, which has to do elsewhere. In the unified hierarchy
(v2) a group is killed by one write, and it limits memory and processes if those controllers are
handed down. On machines that keep them in hierarchies of their own (v1), the group is made there as
well.
"""

import errno
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from vera_supervisor.host.groups import find
from vera_supervisor.host.machine import Machine
from vera_supervisor.pool.memory import LegacyMemory, MemoryControl, UnifiedMemory

#: The group that the supervisor moves into, where it has one to itself: the kernel limits what is
#: in groups below another only if no process is beside them.
LEAF: Final = "supervisor"
#: What the kernel is not to take from the supervisor while others have something to give.
PROTECTED_BYTES: Final = 64 * 2**20
_CONTROLLERS: Final = frozenset({"memory", "pids"})
#: Killed processes are gone in milliseconds; one in uninterruptible sleep is not waited for longer.
_EMPTY_DEADLINE_S: Final = 1.0
_PAUSE_S: Final = 0.002
_NAME: Final = re.compile(r"vera-(\d+)-\d+")


class Group:
    """The group of one executor: a directory in each hierarchy that has a use for it."""

    def __init__(
        self, unified: Path | None, legacy: Mapping[str, Path], memory: MemoryControl | None
    ) -> None:
        self._unified = unified
        self._legacy = legacy
        #: What holds its memory to a limit; None: nothing in the kernel.
        self.memory = memory

    def take(self, pid: int) -> None:
        """Move a process into the group; what it starts from now on is in it as well."""
        for directory in (self._unified, *self._legacy.values()):
            if directory is not None:
                (directory / "cgroup.procs").write_text(str(pid))

    def kill(self) -> bool:
        """Kill everything in it at one moment; return whether the kernel offers that."""
        if self._unified is None:
            return False
        (self._unified / "cgroup.kill").write_text("1")
        return True

    def empty(self) -> None:
        """Kill what is left and wait until it is gone."""
        with suppress(FileNotFoundError):
            if self._unified is not None and self.kill():
                deadline = time.monotonic() + _EMPTY_DEADLINE_S
                while _populated(self._unified) and time.monotonic() < deadline:
                    time.sleep(_PAUSE_S)

    def remove(self) -> None:
        """Give the group back, with those that a task may have made in it."""
        self.empty()
        deadline = time.monotonic() + _EMPTY_DEADLINE_S
        for directory in (self._unified, *self._legacy.values()):
            while directory is not None and not _removed(directory):
                if time.monotonic() > deadline:
                    break
                time.sleep(_PAUSE_S)


class Homes(NamedTuple):
    """Where groups may be made, and what the kernel can do with them."""

    unified: Path | None
    #: Controllers that groups of the unified hierarchy have.
    controllers: frozenset[str]
    #: Those that have a hierarchy of their own, and the place in it.
    legacy: Mapping[str, Path]

    def keeper(self, controller: str) -> str | None:
        """Return what limits that resource; None: nothing."""
        if controller in self.controllers:
            return "cgroup v2"
        return "cgroup v1" if controller in self.legacy else None


class Enforcement(msgspec.Struct, frozen=True):
    """Who holds tasks to their limits: "cgroup v2", "cgroup v1", or what does without."""

    memory: str
    processes: str
    kill: str


class Groups:
    """The groups of one supervisor's executors, below those that it runs in itself."""

    def __init__(self, homes: Homes, max_processes: int | None = None) -> None:
        self.homes = homes
        self._max_processes = max_processes
        self._made = 0

    def make(self) -> Group:
        """Make a group; raise OSError where that is not possible any more."""
        self._made += 1
        name = f"vera-{os.getpid()}-{self._made}"
        homes = self.homes
        unified = None if homes.unified is None else homes.unified / name
        legacy = {controller: home / name for controller, home in homes.legacy.items()}
        try:
            for directory in (unified, *legacy.values()):
                if directory is not None:
                    directory.mkdir()
            return Group(unified, legacy, self._limited(unified, legacy))
        except OSError:
            Group(unified, legacy, None).remove()
            raise

    def _limited(self, unified: Path | None, legacy: Mapping[str, Path]) -> MemoryControl | None:
        handed_down = self.homes.controllers if unified is not None else frozenset[str]()
        limiting = dict(legacy)
        if unified is not None:
            limiting |= dict.fromkeys(handed_down, unified)
        if "pids" in limiting and self._max_processes is not None:
            (limiting["pids"] / "pids.max").write_text(str(self._max_processes))
        if "memory" not in limiting:
            return None
        kind = UnifiedMemory if "memory" in handed_down else LegacyMemory
        return kind(limiting["memory"])

    def remove_stale(self) -> None:
        """Kill and remove what dead supervisors have left."""
        if self.homes.unified is not None:
            for path in _stale(self.homes.unified):
                Group(path, {}, None).remove()
        for controller, home in self.homes.legacy.items():
            for path in _stale(home):
                Group(None, {controller: path}, None).remove()


def enforcement(groups: Groups | None) -> Enforcement:
    """Return who holds tasks to their limits where executors have these groups, or none."""
    homes = Homes(None, frozenset(), {}) if groups is None else groups.homes
    return Enforcement(
        memory=homes.keeper("memory") or "sampling",
        processes=homes.keeper("pids") or "none",
        kill="process tree" if homes.unified is None else "cgroup v2",
    )


def own_groups(max_processes: int | None = None) -> Groups | None:
    """Return the place for groups of this process; None where it must not or cannot have any.

    Each may have `max_processes` processes and threads, where the kernel counts them.
    """
    found = find(Machine())
    unified = _unified_home(found.unified)
    controllers = frozenset[str]() if unified is None else _hand_down(unified)
    legacy = {
        controller: Path(above[0])
        for controller, above in found.legacy.items()
        # The root of a hierarchy is the machine's, and not ours to divide.
        if controller in _CONTROLLERS - controllers and len(above) > 1 and _may_divide(above[0])
    }
    if unified is None and not legacy:
        return None
    groups = Groups(Homes(unified, controllers, legacy), max_processes)
    groups.remove_stale()
    try:
        groups.make().remove()
    except OSError:  # a limit on groups, or a file system that only looks writable
        return None
    return groups


def _unified_home(above: tuple[str, ...]) -> Path | None:
    # The root of all groups has no cgroup.kill: it is the machine's as well.
    if above and os.path.exists(f"{above[0]}/cgroup.kill") and _may_divide(above[0]):
        return Path(above[0])
    return None


def _may_divide(directory: str) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)


def _hand_down(own: Path) -> frozenset[str]:
    """Let the groups below `own` be limited, and return by which controllers they can be."""
    try:
        wanted = _CONTROLLERS.intersection((own / "cgroup.controllers").read_text().split())
        if wanted and _is_alone_in(own):
            leaf = own / LEAF
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
            (own / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
            with suppress(OSError):  # a parent that is not protected itself has nothing to share
                (leaf / "memory.min").write_text(str(PROTECTED_BYTES))
        return wanted.intersection((own / "cgroup.subtree_control").read_text().split())
    except OSError:  # others run beside us, who are not ours to move, or it is not ours to write
        return frozenset()


def _is_alone_in(own: Path) -> bool:
    return (own / "cgroup.procs").read_text().split() == [str(os.getpid())]


def _stale(home: Path) -> list[Path]:
    found: list[Path] = []
    for path in home.glob("vera-*"):
        name = _NAME.fullmatch(path.name)
        if name is not None and not Path("/proc", name[1]).exists():
            found.append(path)
    return found


def _populated(directory: Path) -> bool:
    return "populated 1" in (directory / "cgroup.events").read_text()


def _removed(directory: Path) -> bool:
    """Remove a group and those below it, the deepest first; return whether all are gone."""
    try:
        for path, _, _ in os.walk(directory, topdown=False):
            os.rmdir(path)
    except OSError as error:
        return error.errno == errno.ENOENT
    return True
