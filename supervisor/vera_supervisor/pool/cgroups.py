"""A control group for each executor: what it starts cannot leave, and one write kills it all.

Where the worker may make groups below its own (systemd's `Delegate=yes`, most containers, root),
this is surer and faster than walking the process tree. Elsewhere that walk has to do.
"""

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from vera_supervisor.host.groups import find
from vera_supervisor.host.machine import Machine

#: Killed processes are gone in milliseconds; one in uninterruptible sleep is not waited for longer.
_EMPTY_DEADLINE_S: Final = 1.0
_PAUSE_S: Final = 0.002
_NAME: Final = re.compile(r"vera-(\d+)-\d+")


class Group:
    """The group of one executor."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, pid: int) -> None:
        """Move a process into the group; what it starts from now on is in it as well."""
        (self._path / "cgroup.procs").write_text(str(pid))

    def kill(self) -> None:
        """Kill every process of the group and of groups below it, all at one moment."""
        (self._path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Kill what is left, wait until it is gone, and give the group back."""
        with suppress(FileNotFoundError):
            self.kill()
            deadline = time.monotonic() + _EMPTY_DEADLINE_S
            while self._populated() and time.monotonic() < deadline:
                time.sleep(_PAUSE_S)
            # A task may have made groups of its own; the deepest go first.
            for directory, _, _ in os.walk(self._path, topdown=False):
                with suppress(OSError):
                    os.rmdir(directory)

    def _populated(self) -> bool:
        return "populated 1" in (self._path / "cgroup.events").read_text()


class Groups:
    """The groups of one supervisor's executors, below the group that it runs in itself."""

    def __init__(self, own: Path) -> None:
        self._own = own
        self._made = 0

    def make(self) -> Group:
        """Make a group; raise OSError where that is not possible any more."""
        self._made += 1
        path = self._own / f"vera-{os.getpid()}-{self._made}"
        path.mkdir()
        return Group(path)

    def remove_stale(self) -> None:
        """Kill and remove what supervisors that are no more have left."""
        for path in self._own.glob("vera-*"):
            name = _NAME.fullmatch(path.name)
            if name is not None and not Path("/proc", name[1]).exists():
                Group(path).remove()


def own_groups() -> Groups | None:
    """Return the place for groups of this process; None where it must not or cannot have any."""
    for own in map(Path, find(Machine()).unified[:1]):
        # The root of all groups has no cgroup.kill: it is the machine's, and not ours to divide.
        if (own / "cgroup.kill").exists() and os.access(own, os.W_OK | os.X_OK):
            groups = Groups(own)
            groups.remove_stale()
            try:
                groups.make().remove()
            except OSError:  # a limit on groups, or a file system that only looks writable
                return None
            return groups
    return None
