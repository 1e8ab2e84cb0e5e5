"""Habits of functions beside the database, so that a restart need not learn them anew.

They are guesses: a file that is lost or damaged costs a few attempts that start too early.
"""

import logging
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import msgspec

from vera_supervisor.scheduling.habits import Habit, Habits
from vera_supervisor.store.url import database_path
from vera_supervisor.trusted_files import read_kept, write_private

log = logging.getLogger(__name__)

#: Seconds between two writes, if there is something new.
KEEP_INTERVAL_S: Final = 30.0
_SUFFIX: Final = ".habits.json"
_decoder: Final = msgspec.json.Decoder(dict[str, Habit])


def habits_file(database: Path) -> Path:
    """Return where the habits are kept that belong to a database."""
    return database.with_name(database.name + _SUFFIX)


def read_habits(file: Path) -> dict[str, Habit]:
    """Return what an earlier run kept; nothing where there is none."""
    return read_kept(file, _decoder, "and its functions are measured anew")


def write_habits(file: Path, habits: dict[str, Habit]) -> None:
    """Keep what is known; the file is always whole."""
    try:
        write_private(file, msgspec.json.encode(habits))
    except OSError as error:
        log.warning("what functions use could not be kept: %s", error)


async def keep_habits(habits: Habits, store_url: str) -> None:
    """Go on with what was kept; keep what is new, for ever and at the end.

    Where the store is none on disk, nothing is kept.
    """
    database = database_path(store_url)
    if database is None:
        return
    file = habits_file(database)
    habits.restore(await anyio.to_thread.run_sync(read_habits, file))
    try:
        while True:
            await anyio.sleep(KEEP_INTERVAL_S)
            if habits.changed:
                await anyio.to_thread.run_sync(write_habits, file, habits.kept())
    finally:
        if habits.changed:
            write_habits(file, habits.kept())
