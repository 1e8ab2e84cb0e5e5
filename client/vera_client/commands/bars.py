"""Progress bars on stderr: none where nobody watches, and never in the way of stdout."""

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Progress", "console", "progress"]


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints words as they are, whatever brackets they have."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def progress() -> Progress:
    """Return a bar; it is gone when its work is done."""
    talk = console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=talk,
        transient=True,
        disable=not talk.is_terminal,
        # On one terminal, what is printed goes above the bar; a pipe must get it untouched.
        redirect_stdout=sys.stdout.isatty(),
    )
