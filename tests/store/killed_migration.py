"""A process of its own that has migrations killed: at the first statement, the second, and so on.

Argument: a database. Of each attempt it leaves a copy, `NUMBER.db` beside it, as the kill left it;
the last one is whole.
"""

import os
import shutil
import signal
import sqlite3
import sys
from itertools import count
from pathlib import Path
from typing import Any, cast

from vera_supervisor.store.sqlite.database import connect
from vera_supervisor.store.sqlite.migrations import migrate


class Doomed:
    """A connection whose process is killed before it carries out a certain statement."""

    def __init__(self, connection: sqlite3.Connection, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def execute(self, statement: str) -> Any:
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        return self._connection.execute(statement)


def is_killed(path: Path, statements: int) -> bool:
    """Migrate a database in a child that is killed after so many statements, if it gets there."""
    child = os.fork()
    if not child:
        migrate(cast("sqlite3.Connection", Doomed(connect(path), statements)))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    original = Path(sys.argv[1])
    for number in count():
        copy = original.with_name(f"{number}.db")
        shutil.copy(original, copy)
        if not is_killed(copy, number):
            break
