"""Tasks that leave a mess behind, and tasks that tell what of it they find."""
# ruff: noqa: T201 - what a task prints is captured

import ctypes
import gc
import io
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any, NoReturn

from vera_executor.demo_faults import change_surroundings, spawn_daemon
from vera_worker import TaskContext, current_task, progress

FOREVER_S = 600.0
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def surroundings() -> dict[str, Any]:
    """Return what the next task finds."""
    os.umask(umask := os.umask(0))
    return {
        "cwd": os.getcwd(),
        "umask": umask,
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "handlers": [
            str(signal.getsignal(number))
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
        ],
        "timers": [signal.getitimer(timer) for timer in _TIMERS],
        "stdin": sys.stdin.read(),
        "stdout": [sys.stdout.fileno(), sys.stdout.encoding, sys.stdout.line_buffering],
        "stderr": [sys.stderr.fileno(), sys.stderr.encoding, sys.stderr.line_buffering],
    }


def change_surroundings_and_fail() -> NoReturn:
    """Change what `change_surroundings` changes, then fail."""
    change_surroundings()
    raise RuntimeError("and now this")


def leave_handlers_and_timers() -> None:
    """Ignore a signal, handle another, and set all alarms."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for timer in _TIMERS:
        signal.setitimer(timer, FOREVER_S)


def remove_directory() -> None:
    """Remove the directory that this executor works in."""
    os.rmdir(os.getcwd())


class _Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def flush(self) -> NoReturn:
        sys.exit("not to be flushed")


def leave_stdout(how: str) -> None:
    """Do to sys.stdout what tasks do."""
    match how:
        case "replaced":
            sys.stdout = io.StringIO()
        case "wrapped":
            sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="latin-1")
            sys.stdout.write("wrapped\n")
        case "detached":
            sys.stdout.detach()  # type: ignore[union-attr]
        case "closed":
            sys.stdout.close()
        case "deleted":
            del sys.stdout
        case "none":
            sys.stdout = None
        case "alien":
            sys.stdout = _Unhashable()
        case "reconfigured":
            sys.stdout.reconfigure(encoding="latin-1", line_buffering=False)  # type: ignore[union-attr]


def put_over_stdout(path: str) -> None:
    """Open a file, and put it where standard output is."""
    fd = os.open(path, os.O_WRONLY)
    os.dup2(fd, 1)
    os.close(fd)


def leave_stdin_closed() -> None:
    """Close sys.stdin."""
    sys.stdin.close()


def print_text(text: str) -> None:
    """Print a text, without an end of line."""
    print(text, end="")


def print_bytes(values: list[int]) -> None:
    """Print what the name of a file may hold."""
    print(os.fsdecode(bytes(values)), end="")


def print_from_c(text: str, die: bool = False) -> None:
    """Print a text through C, and die of SIGKILL where that is asked."""
    ctypes.CDLL(None).printf(b"%s", text.encode())
    if die:
        os.kill(os.getpid(), signal.SIGKILL)


def print_to_first_stdout(text: str) -> None:
    """Print to the stream that was the process's at its start."""
    print(text, end="", file=sys.__stdout__)


def print_and_fail(text: str) -> NoReturn:
    """Print a text, without an end of line, and fail."""
    print(text, end="")
    raise RuntimeError(text)


def print_and_hang(text: str) -> None:
    """Print a line without flushing it, then hang."""
    print(text)
    time.sleep(FOREVER_S)


def log_text(text: str) -> None:
    """Log a text through a handler that was made before this executor."""
    _log.warning(text)


_log = logging.getLogger("sample_tasks")
_log.addHandler(logging.StreamHandler(sys.stderr))
_log.propagate = False


def spoil_stdout_and_wait_for_stop() -> None:
    """Replace sys.stdout by what cannot be flushed, then look until told to stop."""
    print("spoilt", flush=True)
    sys.stdout = _Unhashable()
    while not current_task().stop_requested:
        pass


class _Burden:
    pass


_burdens: list[weakref.ref[_Burden]] = []


def fail_with_a_burden() -> NoReturn:
    """Fail while a variable holds something; nobody may collect it but who drops it."""
    gc.disable()
    burden = _Burden()
    _burdens.append(weakref.ref(burden))
    raise RuntimeError("too heavy")


def is_burden_gone() -> bool:
    """Return whether what the variable held was freed without the help of the collector."""
    gc.enable()
    return _burdens.pop()() is None


# Processes and threads


def spawn_and_fail() -> NoReturn:
    """Start a daemon and a subprocess, print their pids, and fail."""
    _spawn()
    raise RuntimeError("done with it")


def spawn_and_wait_for_stop() -> None:
    """Start a daemon and a subprocess, print their pids, and look until told to stop."""
    _spawn()
    while not current_task().stop_requested:
        pass


def _spawn() -> None:
    daemon = spawn_daemon(FOREVER_S)
    print(daemon, subprocess.Popen(["sleep", str(FOREVER_S)]).pid, flush=True)


def subprocess_descriptors() -> list[str]:
    """Return what a subprocess gets that is given all descriptors."""
    # It stops itself: while a program is being loaded, it has its libraries open for a moment.
    with subprocess.Popen(["sh", "-c", "kill -STOP $$"], close_fds=False) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        below = f"/proc/{process.pid}/fd"
        found = [os.readlink(f"{below}/{fd}") for fd in sorted(os.listdir(below), key=int)]
        process.kill()
    return found


def fork_and_return() -> int:
    """Fork, and return from the child as well; the parent waits for it."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return os.getpid()


def report_from_a_fork() -> int:
    """Say progress, look for a stop in a forked child, return its exit code, 7 when all is well."""
    current = current_task()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            current.progress(0.5, "from the child")
            progress(0.6, "from the child")
            if current_task() is current and not current.stop_requested:
                code = 7
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


_pollers: list[threading.Thread] = []


def leave_a_poller() -> None:
    """Leave a thread that looks for the stop of this task, even after it."""

    def poll(current: TaskContext) -> None:
        while not current.stop_requested:
            pass

    thread = threading.Thread(target=poll, args=(current_task(),), daemon=True)
    thread.start()
    _pollers.append(thread)


def join_poller() -> bool:
    """Return whether the thread has ended."""
    _pollers[-1].join(60)
    return not _pollers.pop().is_alive()


def leave_a_thread() -> None:
    """Leave a thread that holds up the end of its process."""
    threading.Thread(target=time.sleep, args=(FOREVER_S,)).start()


def _square(value: int, answers: Any) -> None:
    answers.send(value * value)


def multiprocess(method: str) -> int:
    """Compute in a process of multiprocessing, and leave its helpers running."""
    context: Any = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_square, args=(7, sender))
    process.start()
    sender.close()
    result: int = receiver.recv()
    process.join()
    return result


def out_of_memory() -> None:
    raise MemoryError("there is not so much in the world")
