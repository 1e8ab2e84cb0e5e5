"""How an executor is held to the memory that its task may use with all its processes.

Where the executor has a control group, the kernel does it, and nothing exceeds the limit. Elsewhere
the process tree is measured again and again, and may exceed the limit between two looks.
"""

import errno
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from vera_supervisor.host.machine import Machine
from vera_worker import process_tree

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_KIB: Final = 1024
#: From this part of its limit on, a task may be about to exceed it: its stack is of interest.
_NEAR: Final = 7 / 8
#: Below this part it is not any more.
_FAR: Final = 3 / 4
#: Bytes beyond the limit that let a stopped process write its stack before it is killed.
_TO_WRITE_STACK: Final = 8 * 2**20
_files: Final = Machine()


class Look(NamedTuple):
    """How one attempt stands to its limit."""

    #: What it used at most, in bytes, if it is over its limit; else None.
    excess_bytes: int | None = None
    #: Whether it is about to be.
    near: bool = False


class MemoryControl(Protocol):
    """Holds one executor to a limit."""

    def limit(self, limit_bytes: int | None) -> None:
        """Let it use so many bytes from now on; None: no limit. Raise OSError where that fails."""

    def look(self) -> Look:
        """Return how it stands to its limit, if it has one. May block for milliseconds."""

    def killed(self) -> int | None:
        """Return the bytes that it used if the kernel has killed processes for that; else None."""

    def relent(self, pid: int) -> None:
        """Let process `pid` of it go on for the moment in which it writes its stack down."""


class Sampled:
    """By looking at the process tree."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._limit_bytes: int | None = None

    def limit(self, limit_bytes: int | None) -> None:
        """Let it use so many bytes from now on."""
        self._limit_bytes = limit_bytes

    def look(self) -> Look:
        """Return how it stands to its limit."""
        if self._limit_bytes is None:
            return Look()
        used = tree_bytes(self._pid, self._limit_bytes)
        return Look(used if used > self._limit_bytes else None)

    def killed(self) -> int | None:
        """Return None: the kernel knows of no limit."""
        return None

    def relent(self, pid: int) -> None:
        """Do nothing: nothing holds it."""


class UnifiedMemory:
    """By a control group of the unified hierarchy (v2), which dies as a whole."""

    def __init__(self, group: Path) -> None:
        self._group = group
        self._limit_bytes: int | None = None
        self._times_slowed = 0
        self._tripped = False
        self._write("memory.oom.group", 1)
        if (group / "memory.swap.max").exists():  # else there is no swap
            self._write("memory.swap.max", 0)

    def limit(self, limit_bytes: int | None) -> None:
        """Let it use so many bytes from now on."""
        if limit_bytes != self._limit_bytes:
            self._arm(limit_bytes)
            self._write("memory.max", limit_bytes)
            self._limit_bytes = limit_bytes

    def look(self) -> Look:
        """Return how it stands to its limit."""
        if self._limit_bytes is None:
            return Look()
        excess = self.killed()
        if excess is not None:
            return Look(excess)
        slowed = _files.fields(f"{self._group}/memory.events").get("high", 0)
        near, self._times_slowed = slowed > self._times_slowed, slowed
        with suppress(OSError):  # its process has ended meanwhile, and the group with it
            if near:
                self._tripped = True
                self._write("memory.high", None)
            elif self._tripped and self._used() < self._limit_bytes * _FAR:
                self._arm(self._limit_bytes)
        return Look(near=near)

    def killed(self) -> int | None:
        """Return the bytes that it used if it was killed for that."""
        events = _files.fields(f"{self._group}/memory.events")
        if self._limit_bytes is None or not events.get("oom_kill") or not events.get("oom"):
            return None  # without `oom`, memory was short elsewhere
        return _files.number(f"{self._group}/memory.peak") or self._limit_bytes

    def relent(self, pid: int) -> None:  # noqa: ARG002 - all are slowed down together
        """Let it go on, not slowed down, up to the limit."""
        self._write("memory.high", None)

    def _used(self) -> int:
        return _files.number(f"{self._group}/memory.current") or 0

    def _arm(self, limit_bytes: int | None) -> None:
        """Have the kernel slow it down near its limit, until its stack has been looked at."""
        self._tripped = False
        self._write("memory.high", None if limit_bytes is None else int(limit_bytes * _NEAR))

    def _write(self, name: str, number: int | None) -> None:
        (self._group / name).write_text("max" if number is None else str(number))


class LegacyMemory:
    """By a control group of the memory controller's own hierarchy (v1).

    At the limit the kernel stops its processes until somebody has looked. Where a system call needs
    the memory it fails instead, with an error that says little; `vera_executor.outcome` knows it.
    """

    def __init__(self, group: Path) -> None:
        self._group = group
        self._limit_bytes: int | None = None
        #: Whether it had more than its limit from the start.
        self._full = False
        #: Whether it is about to be killed.
        self._relented = False
        self._write("memory.swappiness", 0)
        with suppress(OSError):  # without that the kernel kills one of its processes
            self._write("memory.oom_control", 1)

    def limit(self, limit_bytes: int | None) -> None:
        """Let it use so many bytes from now on."""
        if limit_bytes == self._limit_bytes:
            return
        self._limit_bytes = limit_bytes
        try:
            self._write("memory.limit_in_bytes", -1 if limit_bytes is None else limit_bytes)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            self._full = True

    def look(self) -> Look:
        """Return how it stands to its limit."""
        if self._limit_bytes is None:
            return Look()
        if self._relented:
            return Look()
        if self._full or self._state().get("under_oom"):
            return Look(self._peak())
        return Look(self.killed())

    def killed(self) -> int | None:
        """Return the bytes that it used if one of its processes was killed for that."""
        if self._limit_bytes is None or not self._state().get("oom_kill"):
            return None
        if not _files.number(f"{self._group}/memory.failcnt"):
            return None  # it was within its limit: memory was short elsewhere
        return self._peak()

    def relent(self, pid: int) -> None:
        """Wake that process where all are stopped at the limit, and let no other one go on."""
        if self._limit_bytes is None or not self._state().get("under_oom"):
            return
        self._relented = True
        for other in (self._group / "cgroup.procs").read_text().split():
            if int(other) != pid:
                with suppress(ProcessLookupError):
                    os.kill(int(other), signal.SIGSTOP)
        self._write("memory.limit_in_bytes", self._limit_bytes + _TO_WRITE_STACK)

    def _state(self) -> dict[str, int]:
        return _files.fields(f"{self._group}/memory.oom_control")

    def _peak(self) -> int:
        return _files.number(f"{self._group}/memory.max_usage_in_bytes") or 0

    def _write(self, name: str, number: int) -> None:
        (self._group / name).write_text(str(number))


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
