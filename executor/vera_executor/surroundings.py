"""What one task must not leave behind for the next: processes, directory, umask, signals."""

import _signal  # type: ignore[import-not-found]  # signal.getsignal: 20 times slower, for enums
import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import Final

from vera_executor import parent
from vera_worker import process_tree

#: Killed processes are gone in milliseconds; one in uninterruptible sleep is not waited for longer.
_REAP_DEADLINE_S: Final = 1.0
_REAP_PAUSE_S: Final = 0.002
#: Signals whose handlers tasks set. The real-time ones are left out: nobody uses them by habit.
_SIGNALS: Final = tuple(
    number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)
)
#: os.waitid would raise, and an exception costs more than the call, after every task.
_waitid: Final = ctypes.PyDLL(None).waitid
_LOOK: Final = os.WEXITED | os.WNOHANG | os.WNOWAIT
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Surroundings:
    """The state of this process between tasks; taken once, restored after every task."""

    def __init__(self) -> None:
        self._directory = os.getcwd()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._handlers = [_signal.getsignal(number) for number in _SIGNALS]
        self._own_children = frozenset(process_tree.children(os.getpid()))

    def restore(self) -> str | None:
        """Put everything back; return why this process is unfit for another task, or None."""
        os.umask(self._umask)
        self._restore_signals()
        if not self._kill_leftovers():
            return "a process that the task started could not be killed"
        parent.forget_own_server()
        return self._restore_directory()

    def _restore_directory(self) -> str | None:
        try:  # asking for it costs half as much as changing it
            if os.getcwd() == self._directory:
                return None
        except OSError:  # nowhere
            pass
        try:
            os.chdir(self._directory)
        except OSError as error:
            return f"its working directory is gone: {error}"
        return None

    def _restore_signals(self) -> None:
        # Timers first: one that ran out later would find the handler gone, and kill the process.
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        if [_signal.getsignal(number) for number in _SIGNALS] != self._handlers:
            for number, handler in zip(_SIGNALS, self._handlers, strict=True):
                if handler is not None:  # it was not set from Python, so no task could change it
                    signal.signal(number, handler)
        _signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _kill_leftovers(self) -> bool:
        if _waitid(os.P_ALL, 0, None, _LOOK) != 0:
            return True  # the usual case, in one system call: no children at all
        deadline = time.monotonic() + _REAP_DEADLINE_S
        while left := set(process_tree.children(os.getpid())) - self._own_children:
            if time.monotonic() > deadline:
                return False
            # Once more each time: a thread may have forked while its process was being stopped.
            process_tree.kill_descendants(os.getpid(), spare=self._own_children)
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(_REAP_PAUSE_S)
        return True
