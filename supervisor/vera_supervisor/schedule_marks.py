"""Up to when each schedule is dealt with, beside the database, which forgets tasks in time.

The store has the last word: it takes the id of a due time once. A file that is lost or old costs
what was due since then and is forgotten already: that is taken for missed.
"""

import logging
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import msgspec

from vera_supervisor.trusted_files import read_kept, write_private

log = logging.getLogger(__name__)

_SUFFIX: Final = ".schedules.json"
_decoder: Final = msgspec.json.Decoder(dict[str, int])


class ScheduleMarks:
    """The last due time of each schedule that was dealt with, in seconds since the epoch."""

    def __init__(self, database: Path | None) -> None:
        """Read what an earlier run noted; without a database nothing is kept."""
        self._file = None if database is None else database.with_name(database.name + _SUFFIX)
        self._dealt_with: dict[str, int] = {}
        if self._file is not None:
            forgotten = "the store must know what schedules have done"
            self._dealt_with = read_kept(self._file, _decoder, forgotten)
        self._writing = anyio.Lock()

    def get(self, schedule: str) -> int | None:
        """Return the last due time of a schedule that was dealt with; None: that is not known."""
        return self._dealt_with.get(schedule)

    async def set(self, schedule: str, due: int) -> None:
        """Note that a due time is dealt with."""
        self._dealt_with[schedule] = due
        if self._file is None:
            return
        async with self._writing:
            content = msgspec.json.encode(self._dealt_with)
            try:
                await anyio.to_thread.run_sync(write_private, self._file, content)
            except OSError as error:
                log.warning("what schedules have done could not be noted: %s", error)
