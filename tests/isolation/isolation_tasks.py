"""Tasks that leave something behind; the tests look whether it is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from vera_executor import demo_faults
from vera_worker import task

_seen: list[str] = []


def own_pid() -> int:
    """Return the pid of the executor."""
    return os.getpid()


def tree_and(end: str, depth: int = 1) -> list[int]:
    """Start all that is hard to kill and print the pids; then hang, return, raise or die."""
    pids = demo_faults.spawn_tree(depth=depth, width=1, hang=False)
    match end:
        case "hang":
            time.sleep(demo_faults.FOREVER_S)
        case "raise":
            raise RuntimeError("and out")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
    return pids


def tree_and_hold_gil() -> None:
    """Start all that is hard to kill, then sleep in C with the interpreter held."""
    demo_faults.spawn_tree(depth=1, width=1, hang=False)
    demo_faults.hang_holding_gil()


def hang_in_thread_too() -> None:
    """Hang in two threads."""
    threading.Thread(target=time.sleep, args=(demo_faults.FOREVER_S,)).start()
    time.sleep(demo_faults.FOREVER_S)


def task_id_of_processes() -> list[str | None]:
    """Return the task id that this process, and one that it starts, find in the environment."""
    code = "import os; print(os.environ['VERA_TASK_ID'])"
    seen = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [os.environ.get("VERA_TASK_ID"), seen.stdout.strip()]


def clear_environment() -> None:
    """Leave no environment to the next task."""
    os.environ = {}  # type: ignore[assignment]  # noqa: B003


def close_all_fds_and_hang() -> None:
    """Cut the link to the supervisor and stay."""
    demo_faults.close_all_fds()
    time.sleep(demo_faults.FOREVER_S)


def remember(text: str) -> list[str]:
    """Return what this module has seen in this process."""
    _seen.append(text)
    return _seen


def print_everywhere_then_die(text: str) -> None:
    """Print from Python, C and a subprocess, then die of SIGKILL."""
    demo_faults.print_everywhere(text)
    os.kill(os.getpid(), signal.SIGKILL)


def print_everywhere_then_hang(text: str) -> None:
    """Print from Python, C and a subprocess, then hang."""
    demo_faults.print_everywhere(text)
    time.sleep(demo_faults.FOREVER_S)


def surroundings() -> dict[str, Any]:
    """Return what a task may have changed for the next one."""
    umask = os.umask(0)
    os.umask(umask)
    blocked = sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    return {"directory": os.getcwd(), "umask": umask, "blocked": blocked}


def return_forged(task_id: str) -> None:
    """Answer for another task, as a late answer would, and go on."""
    from vera_worker import wire  # noqa: PLC0415 - only here

    frame = wire.pack(wire.Returned(task_id, 1, b'"forged"'))
    for fd in demo_faults._link_fds():
        os.write(fd, frame)


def print_then(end: str, padding: int = 1) -> None:
    """Print something, then raise, hang or die."""
    print("x" * padding, "here", flush=True)  # noqa: T201
    match end:
        case "raise":
            raise RuntimeError("and out")
        case "hang":
            time.sleep(demo_faults.FOREVER_S)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)


@task(idempotent=False)
def print_then_once(end: str) -> None:
    """Do the same, never more than once."""
    print_then(end)
