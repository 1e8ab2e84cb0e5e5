"""A thread that takes the stack signal where the task's own thread will not: it blocks all signals.

It is one of C, which Python does not know and no task can see: it never holds the interpreter, runs
no handler of a task, and does not exist in processes that a task forks.
"""

import ctypes
import signal
from typing import Final

_libc: Final = ctypes.CDLL(None)
#: A semaphore in this process's own memory that nobody ever raises.
_never: Final = ctypes.create_string_buffer(64)


def start(number: int) -> None:
    """Have signal `number` delivered even while every thread of Python blocks it."""
    _libc.sem_init(_never, 0, 0)
    thread = ctypes.c_ulong()
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {number})
    try:  # without the thread, such a task is killed all the same, but shows no stack
        _libc.pthread_create(ctypes.byref(thread), None, _libc.sem_wait, _never)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
