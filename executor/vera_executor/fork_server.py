"""The fork server: parent and guardian of all executors of one generation.

multiprocessing's fork server imports this module once, before it forks the first executor. Here it
imports the task modules, so that every executor starts with them loaded, and takes on a second
duty: when the supervisor dies, even by SIGKILL, the server's end-of-file makes it leave, and on its
way out it kills every executor and all that they started. It runs no task, so nothing a task does
(a held GIL, blocked signals, a double fork) can keep it from that.
"""

import atexit
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vera_executor import obituary
from vera_executor.parent import PID
from vera_worker import process_tree

#: Names of the modules to import here, comma-separated; the launcher sets it for the server alone.
PRELOAD_VARIABLE: Final = "_VERA_PRELOAD"
#: Where to look for them, as in PYTHONPATH. Before Python 3.12 multiprocessing does not tell its
#: server, and each executor would import for itself whatever is on disk by then.
PATH_VARIABLE: Final = "_VERA_PATH"
#: The file that names the module being imported, in case that never ends, or ends this process.
PROGRESS_VARIABLE: Final = "_VERA_PROGRESS"
#: The directory for obituaries of executors, if there is one.
OBITUARIES_VARIABLE: Final = "_VERA_OBITUARIES"

#: Seconds between two looks whether the supervisor is still there, while modules are imported.
_ASK_S: Final = 0.2
#: Seconds that the exit functions of task modules may take.
_LEAVE_S: Final = 1


def _install() -> None:
    process_tree.become_subreaper()
    if OBITUARIES_VARIABLE in os.environ:
        obituary.write_from_now_on(os.environ.pop(OBITUARIES_VARIABLE))
    # Functions of `atexit` run only after all threads have ended: those of task modules may never.
    threading._register_atexit(_leave)  # type: ignore[attr-defined] # noqa: SLF001
    # Orphans of dead executors become our children; that they are reaped here is no surprise.
    warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
    path = os.environ.pop(PATH_VARIABLE, None)
    if path is not None:
        sys.path[:] = path.split(os.pathsep)
    progress = Path(os.environ.pop(PROGRESS_VARIABLE, os.devnull))
    importlib.import_module("vera_executor.main")  # else each executor would spend 20 ms on it
    with _watch_over_the_supervisor():
        for module in filter(None, os.environ.pop(PRELOAD_VARIABLE).split(",")):
            progress.write_text(module, encoding="utf-8")
            # An executor imports it again and reports what is wrong.
            with suppress(BaseException):
                importlib.import_module(module)
        progress.write_text("")


@contextmanager
def _watch_over_the_supervisor() -> Iterator[None]:
    """Leave if the supervisor dies while modules are imported, when nobody reads the pipe.

    The thread that watches has ended before the first fork.
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


if PRELOAD_VARIABLE in os.environ:
    _install()
