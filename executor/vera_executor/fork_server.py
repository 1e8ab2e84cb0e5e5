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
import sys
import warnings
from contextlib import suppress
from typing import Any, Final

from vera_worker import process_tree

#: Names of the modules to import here, comma-separated; the launcher sets it for the server alone.
PRELOAD_VARIABLE: Final = "_VERA_PRELOAD"
#: Where they are looked for, as in PYTHONPATH. multiprocessing tells a server before Python 3.12
#: nothing of that, and each executor would import for itself what is on the disk by then.
PATH_VARIABLE: Final = "_VERA_PATH"

#: The fork server's pid, known to every executor that it forks.
PID: Final = os.getpid()


def _install() -> None:
    process_tree.become_subreaper()
    atexit.register(_kill_everyone)
    path = os.environ.pop(PATH_VARIABLE, None)
    if path is not None:
        sys.path[:] = path.split(os.pathsep)
    # Orphans of dead executors become our children and are reaped as "unexpected": they are not.
    warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
    for module in filter(None, os.environ.pop(PRELOAD_VARIABLE).split(",")):
        # An executor imports it again and reports what is wrong.
        with suppress(BaseException):
            importlib.import_module(module)


def _kill_everyone() -> None:
    if os.getpid() == PID:  # and not in a process that a task forked
        process_tree.kill_descendants(PID)


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
