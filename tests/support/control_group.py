"""Runs a program in control groups of its own, as systemd and container engines do."""

import os
import shlex
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from vera_supervisor.host.groups import find
from vera_supervisor.host.machine import Machine
from vera_supervisor.pool.cgroups import Group

#: The unified hierarchy (v2) among the names of controllers, which have one each in v1.
UNIFIED = ""


class Place(NamedTuple):
    """Where a program runs."""

    #: Its group in each hierarchy.
    groups: dict[str, Path]
    #: A program that runs Python there.
    python: str
    #: Settings by which a worker makes groups of its own there.
    settings: dict[str, str]

    def executors(self, hierarchy: str) -> list[Path]:
        """Return the groups of the worker's executors in that hierarchy."""
        return sorted(self.groups[hierarchy].glob("vera-*"))


def hierarchy(controller: str) -> Path:
    """Return where a hierarchy is mounted; skip the test where that cannot be written to."""
    found = find(Machine())
    above = found.legacy.get(controller, ()) if controller else found.unified
    for mount in above[-1:]:
        if os.access(mount, os.W_OK):
            return Path(mount)
    pytest.skip(f"no writable control groups of {controller or 'the unified hierarchy'} here")


@contextmanager
def control_group(directory: Path, *hierarchies: str) -> Iterator[Place]:
    """Make a group in each of the hierarchies, the unified one if none is named.

    In the others the program runs at the root, below which no worker makes groups.
    """
    name = f"vera-test-{uuid.uuid4().hex}"
    groups = {which: hierarchy(which) / name for which in hierarchies or (UNIFIED,)}
    for group in groups.values():
        group.mkdir()
    legacy = find(Machine()).legacy
    roots = [legacy[which][-1] for which in ("memory", "pids") if which in legacy]
    python = directory / f"python-in-{name}"
    joins = "".join(f"echo $$ > {group}/cgroup.procs && " for group in [*roots, *groups.values()])
    python.write_text(f'#!/bin/sh\n{joins}exec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o700)
    try:
        yield Place(groups, str(python), {"VERA_EXECUTOR__CONTROL_GROUPS": "true"})
    finally:
        Group(groups.pop(UNIFIED, None), groups, None).remove()
