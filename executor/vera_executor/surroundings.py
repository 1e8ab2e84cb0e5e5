"""What one task must not leave behind for the next: processes, directory, umask, signal mask."""

import os
import signal
import time
from contextlib import suppress
from typing import Final

from vera_worker import process_tree

#: Killed processes are gone in milliseconds; one in uninterruptible sleep is not waited for longer.
_REAP_DEADLINE_S: Final = 1.0
_REAP_PAUSE_S: Final = 0.002


class Surroundings:
    """The state of this process between tasks; taken once, restored after every task."""

    def __init__(self) -> None:
        self._directory = os.getcwd()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._signals = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._own_children = frozenset(process_tree.children(os.getpid()))

    def restore(self) -> str | None:
        """Put everything back; return why this process is unfit for another task, or None."""
        os.umask(self._umask)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._signals)
        if not self._kill_leftovers():
            return "a process that the task started could not be killed"
        try:
            os.chdir(self._directory)
        except OSError as error:
            return f"its working directory is gone: {error}"
        return None

    def _kill_leftovers(self) -> bool:
        try:  # the usual case, in one system call: no children at all
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        process_tree.kill_descendants(os.getpid(), spare=self._own_children)
        deadline = time.monotonic() + _REAP_DEADLINE_S
        while left := set(process_tree.children(os.getpid())) - self._own_children:
            if time.monotonic() > deadline:
                return False
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(_REAP_PAUSE_S)
        return True
