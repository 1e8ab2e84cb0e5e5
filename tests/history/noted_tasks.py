"""Tasks that write down, outside of the worker's reach, that they ran."""

import os
import time
import uuid
from typing import Any

from vera_worker import current_task, task

#: In the environment: the file that every run appends to.
NOTES_VARIABLE = "VERA_TEST_NOTES"


@task
def noted(seconds: float = 0.0) -> dict[str, Any]:
    """Run for a while, write down the begin and the end, and return what only this run knows."""
    token = uuid.uuid4().hex
    _note(token, "start")
    if seconds:
        time.sleep(seconds)
    _note(token, "end")
    return {"token": token}


@task(idempotent=False)
def noted_once(seconds: float = 0.0) -> dict[str, Any]:
    """Do the same, and never twice."""
    return noted(seconds)


@task
def noted_death() -> None:
    """Kill the executor, every time."""
    _note(uuid.uuid4().hex, "start")
    os._exit(3)


def _note(token: str, what: str) -> None:
    running = current_task()
    line = f"{running.task_id} {running.attempt} {token} {what} {time.monotonic()}\n"
    notes = os.open(os.environ[NOTES_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(notes, line.encode())  # one write: lines of several runs never mix
    finally:
        os.close(notes)
