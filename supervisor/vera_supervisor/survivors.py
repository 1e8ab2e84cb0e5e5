"""What an earlier run of this worker left running: found by a mark in its environment, and killed.

The fork server kills all executors, with everything they started, as soon as its supervisor dies.
It may still be doing so when the next run starts; and if it was killed together with its
supervisor, daemons that tasks had started live on. None of them must meet the next attempt of its
task.
"""

import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

#: Names the database whose tasks a process runs; inherited by all that a task starts.
MARK: Final = "VERA_TASKS_OF"
#: Killed processes vanish in milliseconds; one in uninterruptible sleep is not waited for longer.
_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.005


def end_survivors(database: Path) -> int:
    """Kill what earlier runs on `database` left, and mark what this one will start.

    Blocks until they are gone, a few seconds at most; returns how many were killed. Only the owner
    of the database may call this: then no earlier run can still be at work.
    """
    wanted = os.fsencode(f"{MARK}={database.resolve()}")
    killed: set[int] = set()
    give_up_at = time.monotonic() + _PATIENCE_S
    while found := _marked(wanted):
        if time.monotonic() > give_up_at:
            log.warning("%d processes of an earlier run do not vanish: %s", len(found), found)
            break
        for pid in found:  # and again: one may have forked before it was killed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(_PAUSE_S)
    if killed:
        log.warning("%d processes of an earlier run were killed", len(killed))
    os.environ[MARK] = str(database.resolve())
    return len(killed)


def _marked(wanted: bytes) -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        # Processes that are gone have no such file; those of other users are not ours to read.
        with suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            if wanted in file.read().split(b"\0"):
                found.append(int(name))
    return found
