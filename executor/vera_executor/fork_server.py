"""The fork server: parent and guardian of all executors of one generation.

multiprocessing's fork server imports this module once, before it forks the first executor. Here it
imports the task modules, so that every executor starts with them loaded, and takes on a second
duty: when the supervisor dies, even by SIGKILL, the server's end-of-file makes it leave, and on its
way out it kills every executor and all that they started. It runs no task, so nothing a task does
(a held GIL, blocked signals, a double fork) can keep it from that.
"""

import atexit
import importlib
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vera_worker import process_tree

#: Names of the modules to import here, comma-separated; the launcher sets it for the server alone.
PRELOAD_VARIABLE: Final = "_VERA_PRELOAD"
#: Where they are looked for, as in PYTHONPATH. multiprocessing tells a server before Python 3.12
#: nothing of that, and each executor would import for itself what is on the disk by then.
PATH_VARIABLE: Final = "_VERA_PATH"
#: The file that says which of them is being imported, should that never end, or end this process.
PROGRESS_VARIABLE: Final = "_VERA_PROGRESS"
#: The directory for what executors had used that ended badly: see `use_file`.
USE_VARIABLE: Final = "_VERA_USE"

_KIB: Final = 1024
_MICROSECONDS: Final = 1_000_000

#: Seconds between two looks whether the supervisor is still there, while modules are imported.
_ASK_S: Final = 0.2
#: Seconds that the exit functions of task modules may take.
_LEAVE_S: Final = 1

#: The fork server's pid, known to every executor that it forks.
PID: Final = os.getpid()


def use_file(directory: str, pid: int) -> str:
    """Return the name of a file: microseconds of CPU, and bytes, that an executor had used."""
    return os.path.join(directory, f"used-{pid}")


class _Reaper:
    """`os` as the server's loop sees it: of an executor that ends badly, what it used is kept.

    Nobody but the parent is told that, and only with the exit status; the loop asks for less.
    """

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
            multiprocessing.forkserver.os = os  # type: ignore[attr-defined]
        return pid

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        pid, status, usage = os.wait4(pid, options)
        if pid in self._executors:
            self._executors.remove(pid)
            if status:
                cpu_us = round((usage.ru_utime + usage.ru_stime) * _MICROSECONDS)
                with suppress(OSError), open(use_file(self._directory, pid), "w") as file:
                    file.write(f"{cpu_us} {usage.ru_maxrss * _KIB}")
        return pid, status


def _install() -> None:
    process_tree.become_subreaper()
    if USE_VARIABLE in os.environ:
        multiprocessing.forkserver.os = _Reaper(os.environ.pop(USE_VARIABLE))  # type: ignore[attr-defined]
    # Those of `atexit` come only after all threads have ended, which those of task modules may not.
    threading._register_atexit(_leave)  # type: ignore[attr-defined] # noqa: SLF001
    # Orphans of dead executors become our children and are reaped as "unexpected": they are not.
    warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
    path = os.environ.pop(PATH_VARIABLE, None)
    if path is not None:
        sys.path[:] = path.split(os.pathsep)
    progress = Path(os.environ.pop(PROGRESS_VARIABLE, os.devnull))
    importlib.import_module("vera_executor.main")  # or each executor would take 20 ms for that
    with _watch_over_the_supervisor():
        for module in filter(None, os.environ.pop(PRELOAD_VARIABLE).split(",")):
            progress.write_text(module, encoding="utf-8")
            # An executor imports it again and reports what is wrong.
            with suppress(BaseException):
                importlib.import_module(module)
        progress.write_text("")


@contextmanager
def _watch_over_the_supervisor() -> Iterator[None]:
    """While modules are imported, and nobody reads the pipe, ask whether the supervisor is there.

    The thread that asks has ended before the first fork.
    """
    supervisor, done = os.getppid(), threading.Event()

    def ask() -> None:
        while not done.wait(_ASK_S):
            if os.getppid() != supervisor:
                process_tree.kill_descendants(PID)
                os._exit(1)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _leave() -> None:
    """The supervisor is gone, or wants us to go."""
    if os.getpid() != PID:  # a process that a task forked
        return
    process_tree.kill_descendants(PID)
    # Whatever the exit functions of task modules do, it will not keep this process here.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LEAVE_S)
    atexit._run_exitfuncs()  # noqa: SLF001 - the interpreter would wait for threads first
    os._exit(0)


def leave_to_the_server() -> None:
    """In an executor: let the server see the supervisor's death, and die with the server.

    The server reads the supervisor's death as end-of-file of a pipe of which multiprocessing hands
    every child the write end; kept open, each busy executor would keep the server alive.
    """
    _let_go()
    process_tree.die_with_parent()
    if os.getppid() != PID:
        os._exit(0)


def forget_own_server() -> None:
    """In an executor: let the next task that uses multiprocessing start a fork server of its own.

    That of the last task was killed with all else that it left; multiprocessing would wait for it
    in vain and fail.
    """
    server = _server()
    if server._forkserver_pid is not None:  # noqa: SLF001
        _let_go()
        server._forkserver_pid = server._forkserver_address = None  # noqa: SLF001


def _let_go() -> None:
    server = _server()
    if server._forkserver_alive_fd is not None:  # noqa: SLF001
        os.close(server._forkserver_alive_fd)  # noqa: SLF001
        server._forkserver_alive_fd = None  # noqa: SLF001


def _server() -> Any:
    return multiprocessing.forkserver._forkserver  # noqa: SLF001 - there is no public way to it


if PRELOAD_VARIABLE in os.environ:
    _install()
