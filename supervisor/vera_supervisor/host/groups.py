"""The control groups that this process is in, in every hierarchy that the machine has mounted."""

import posixpath
from typing import Final

import msgspec

from vera_supervisor.host.machine import Machine

_UNIFIED: Final = ""


class Groups(msgspec.Struct, frozen=True):
    """Directories of this process's groups, its own first, then those above it up to the mount.

    A directory of the unified hierarchy (v2) serves all controllers; one of v1 serves its own.
    """

    unified: tuple[str, ...] = ()
    #: By name of the v1 controller.
    legacy: dict[str, tuple[str, ...]] = {}


def find(machine: Machine) -> Groups:
    """Return the groups of this process on `machine`."""
    memberships = _memberships(machine)
    unified: tuple[str, ...] = ()
    legacy: dict[str, tuple[str, ...]] = {}
    for line in machine.lines("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(maxsplit=2), "", "", ""][:3]
        fields = before.split()
        if kind not in ("cgroup", "cgroup2") or len(fields) < 5:  # noqa: PLR2004 - proc(5)
            continue
        root, mount = fields[3], fields[4]
        if kind == "cgroup2":
            unified = unified or _upwards(mount, root, memberships.get(_UNIFIED))
            continue
        for controller in options.split(","):
            if controller in memberships and controller not in legacy:
                legacy[controller] = _upwards(mount, root, memberships[controller])
    return Groups(unified, legacy)


def _memberships(machine: Machine) -> dict[str, str]:
    """Return the group of this process by controller, as the kernel names it."""
    found: dict[str, str] = {}
    for line in machine.lines("/proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _upwards(mount: str, root: str, path: str | None) -> tuple[str, ...]:
    """Return the directories from the group `path` up to the mount point, which shows `root`.

    In a container the mount may show a part of the tree only; groups outside of it, written as
    "/..", are not to be seen: then the mount point is the nearest that is.
    """
    if not path:
        return ()
    below = posixpath.relpath(path, root)
    if below == "." or below.startswith(".."):
        return (mount,)
    parts = below.split("/")
    inner = (posixpath.join(mount, *parts[:length]) for length in range(len(parts), 0, -1))
    return (*inner, mount)
