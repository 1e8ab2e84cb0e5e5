"""A process of its own that writes tasks, and says on its output what it was told of each.

Arguments: the database, how many tasks, how many at a time, and SQLite's `synchronous`. Each task
is added ("added <id>"), and every second one is finished ("ended <id>"). What the store refuses is
told again when the store says that it can write. The log is brought into the database every few
commits, so that faults meet that as well.
"""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.makers import make_task
from vera_supervisor.scheduling.effects import AddTask, FinishTask
from vera_supervisor.store.protocol import StoreFault, StoreUnavailable
from vera_supervisor.store.sqlite import database, writer
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_worker.lifecycle import Status

NOW = 1.0e9
#: Exit codes: the store would not open; it would not write for too long.
NOT_OPENED, GIVEN_UP = 2, 3
_PATIENCE = 60
_CHECKPOINT_BYTES = 16 * 1024
_PAUSE_S = 0.05


def say(word: str, task_id: str) -> None:
    os.write(1, f"{word} {task_id}\n".encode())


async def told(store: SqliteStore, word: str, ids: list[str]) -> None:
    """Tell the store of all `ids` at once, and again of those that it refuses."""
    for _ in range(_PATIENCE):
        refused: list[str] = []
        answers = [_tell(store, word, task_id) for task_id in ids]
        for task_id, answer in zip(ids, answers, strict=True):
            if isinstance(await answer, StoreFault):
                say("refused", task_id)
                refused.append(task_id)
            else:
                say(word, task_id)
        if not refused:
            return
        ids = refused
        await asyncio.sleep(_PAUSE_S)
    sys.exit(GIVEN_UP)


def _tell(store: SqliteStore, word: str, task_id: str) -> asyncio.Future[Any]:
    answer = asyncio.get_running_loop().create_future()
    if word == "added":
        store.add(AddTask(make_task(task_id), 0.0, None), answer.set_result)
    else:
        finish = FinishTask(task_id, 1, Status.COMPLETED, b"42", None, b"")
        store.finish(finish, NOW, answer.set_result)
    return answer


async def main(path: Path, tasks: int, at_a_time: int) -> None:
    store = SqliteStore(path, result_ttl_s=1e9, max_bytes=1 << 30)
    try:
        await store.open()
    except StoreUnavailable as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NOT_OPENED)
    for first in range(0, tasks, at_a_time):
        ids = [str(number) for number in range(first, first + at_a_time)]
        await told(store, "added", ids)
        await told(store, "ended", ids[::2])
    await store.close()


def connecting(synchronous: str) -> Callable[[Path], sqlite3.Connection]:
    """Return what connects as the store does, but with another idea of durability."""
    connect = database.connect

    def other(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute(f"pragma synchronous = {synchronous}")
        return connection

    return other


if __name__ == "__main__":
    _, file, tasks, at_a_time, synchronous = sys.argv
    if synchronous != "as it is":
        database.connect = connecting(synchronous)
    writer._CHECKPOINT_BYTES = _CHECKPOINT_BYTES
    asyncio.run(main(Path(file), int(tasks), int(at_a_time)))
