"""Small tasks that the tests of the executor call."""
# ruff: noqa: T201 - what a task prints is captured

import os
import sys
import time
from typing import Any, NoReturn

from vera_worker import current_task, progress, task

#: The process that imported this module: with preloading, the fork server.
IMPORTED_BY = os.getpid()
FOREVER_S = 600.0


def imported_by() -> list[int]:
    """Return who imported this module, and this executor's parent."""
    return [IMPORTED_BY, os.getppid()]


def loaded_modules() -> list[str]:
    """Return the names of all loaded modules."""
    return sorted(sys.modules)


@task(name="renamed", timeout=5.0, priority="high")
def _private(path: str, *, limit: int = 10) -> int:
    """Stand here to be described."""
    return limit + len(path)


def compute(where: str, *, seconds: float = 0.4, fail: bool = False) -> None:
    """Use so much CPU time, here or in a forked child, and fail where that is asked."""
    if where == "here":
        _use_cpu(seconds)
    elif pid := os.fork():
        os.waitpid(pid, 0)
    else:
        _use_cpu(seconds)
        os._exit(0)
    if fail:
        raise RuntimeError("computed")


def _use_cpu(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


# What a task says and asks


def whoami() -> dict[str, Any]:
    """Return what the task knows of itself."""
    current = current_task()
    return {"id": current.task_id, "attempt": current.attempt, "left": current.time_left()}


def report(times: int) -> float:
    """Say progress often and at once; return how long that took."""
    started = time.monotonic()
    for count in range(times):
        progress(count / times, f"{count}")
    progress(1.0, "done")
    return time.monotonic() - started


def report_wrong_text() -> str:
    """Say what cannot be sent as it is, in words that are held back until the end."""
    progress(message="first")
    progress(message=b"not text")  # type: ignore[arg-type]
    progress(message="\udcff")
    return "done"


def is_stop_requested() -> bool:
    """Look once."""
    return current_task().stop_requested


def wait_for_stop() -> str:
    """Say that it waits, then look until it is told to stop."""
    print("waiting", flush=True)
    while not current_task().stop_requested:
        pass
    return "stopped"


def hang() -> None:
    """Say that it hangs, then do so in C."""
    print("hanging", flush=True)
    time.sleep(FOREVER_S)


# How it ends


def raise_from_below(text: str) -> NoReturn:
    """Raise an error two calls down."""

    def below() -> NoReturn:
        raise LookupError(text)

    below()


def raise_from_another(text: str) -> NoReturn:
    """Raise an error because of another one."""
    try:
        raise_from_below(text)
    except LookupError as error:
        raise RuntimeError("that is why") from error


async def raise_in_coroutine(text: str) -> NoReturn:
    """Raise an error in a coroutine."""
    raise_from_below(text)


def fail_with_bytes(values: list[int]) -> NoReturn:
    """Raise an error whose message names a file in bytes of no encoding."""
    raise OSError(os.fsdecode(bytes(values)))


def return_text(characters: int) -> str:
    """Return that much."""
    return "x" * characters
