"""Why an executor is gone, read from its exit status."""

import signal
from typing import NamedTuple


class Exit(NamedTuple):
    """How a process ended; one sentence, and the number or the signal's name behind it."""

    message: str
    exit_code: int | None = None
    signal: str | None = None


def explain(status: int | None) -> Exit:
    """Return what `multiprocessing.Process.exitcode` says; None: the status was lost."""
    if status is None:
        return Exit("its executor vanished")
    if status < 0:
        name = _signal_name(-status)
        return Exit(f"its executor was killed by {name}", signal=name)
    return Exit(f"its executor exited with code {status} in the middle of the task", status)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
