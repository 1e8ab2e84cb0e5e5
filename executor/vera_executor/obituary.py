"""What an executor had used when it died, kept for the supervisor in a file.

Only the parent of a process is told that, once, together with the exit status. The parent of an
executor is the fork server, and multiprocessing's loop there asks for the status alone.
"""

import multiprocessing.forkserver
import os
from contextlib import suppress
from typing import Any, Final

from vera_worker.tasks import Used

_KIB: Final = 1024
_MICROSECONDS: Final = 1_000_000


class _Reaper:
    """`os` as the server's loop sees it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._executors: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fork(self) -> int:
        pid = os.fork()
        if pid:
            self._executors.add(pid)
        else:
            _give_the_loop(os)
        return pid

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        pid, status, usage = os.wait4(pid, options)
        if pid in self._executors:  # all others are orphans of tasks
            self._executors.remove(pid)
            if status:
                cpu_us = round((usage.ru_utime + usage.ru_stime) * _MICROSECONDS)
                with suppress(OSError), open(_file(self._directory, pid), "w") as file:
                    file.write(f"{cpu_us} {usage.ru_maxrss * _KIB}")
        return pid, status


def write_from_now_on(directory: str) -> None:
    """In the fork server: for each executor that ends badly, leave a file in `directory`."""
    _give_the_loop(_Reaper(directory))


def read(directory: str, pid: int) -> Used | None:
    """Return what an executor had used in its whole life; once, and None if nobody knows."""
    path = _file(directory, pid)
    try:
        with open(path, encoding="ascii") as file:
            cpu_us, peak_bytes = map(int, file.read().split())
        os.unlink(path)
    except (OSError, ValueError):
        return None
    return Used(cpu_us / _MICROSECONDS, peak_bytes)


def _give_the_loop(system: Any) -> None:
    multiprocessing.forkserver.os = system  # type: ignore[attr-defined]


def _file(directory: str, pid: int) -> str:
    return os.path.join(directory, f"used-{pid}")
