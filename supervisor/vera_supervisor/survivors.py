"""What an earlier run of this worker left running: found by a mark in its environment, and killed.

The fork server kills all executors with all that they started as soon as its supervisor dies. It
may still be at it when the next run starts; and where it was killed together with its supervisor,
daemons that tasks had started live on. None of them may meet the next attempt of its task.
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

    Blocks until all is gone, a few seconds at most; returns how many were killed. Only for the
    owner of the database: so an earlier run can have none that still is at work.
    """
    wanted = os.fsencode(f"{MARK}={database.resolve()}")
    killed: set[int] = set()
    give_up_at = time.monotonic() + _PATIENCE_S
    while found := _marked(wanted):
        if time.monotonic() > give_up_at:
            log.warning("%d processes of an earlier run do not vanish: %s", len(found), found)
            break
        for pid in found:  # again those that forked meanwhile: what is killed forks no more
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
        # Those that are gone have no file, those of others are not ours to read.
        with suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            if wanted in file.read().split(b"\0"):
                found.append(int(name))
    return found
