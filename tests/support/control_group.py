"""Runs a program in a control group of its own, as systemd and container engines do."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vera_supervisor.host.groups import find
from vera_supervisor.host.machine import Machine
from vera_supervisor.pool.cgroups import Group


def unified_hierarchy() -> Path:
    """Return where the unified hierarchy is mounted; skip the test where none can be used."""
    for mount in find(Machine()).unified[-1:]:
        if os.access(mount, os.W_OK):
            return Path(mount)
    pytest.skip("no writable cgroup v2 hierarchy on this machine")


@contextmanager
def control_group(directory: Path) -> Iterator[tuple[Path, str]]:
    """Make a group; yield it and a program that runs Python in it."""
    group = unified_hierarchy() / f"vera-test-{uuid.uuid4().hex}"
    group.mkdir()
    python = directory / f"python-in-{group.name}"
    python.write_text(f'#!/bin/sh\necho $$ > {group}/cgroup.procs && exec {sys.executable} "$@"\n')
    python.chmod(0o700)
    try:
        yield group, str(python)
    finally:
        Group(group).remove()
