"""How many commits were acknowledged, noted outside the database.

SQLite takes a log that was cut short or altered for the torn end of the last transaction, and goes
on without what it held. The witness tells the two apart: it is written after a commit is durable
and before the commit is acknowledged, so a database with fewer commits has lost some. It is not
synced: after a loss of power it may be out of date, and then claims too little, but never too much.
"""

import os
from typing import Final
from zlib import crc32

#: Two places, written in turn, so that one always is whole.
_SLOT_BYTES: Final = 64
_SLOTS: Final = 2


class Witness:
    """The note, in a file that belongs to the owner of the store."""

    def __init__(self, file: int) -> None:
        self._file = file

    def commits(self) -> int:
        """Return how many commits the database must have; 0 where nothing was ever noted."""
        content = os.pread(self._file, _SLOTS * _SLOT_BYTES, 0)
        slots = (content[i * _SLOT_BYTES :][:_SLOT_BYTES] for i in range(_SLOTS))
        return max(map(_read, slots))

    def note(self, commits: int) -> None:
        """Note that so many commits are durable."""
        words = b"%d commits" % commits
        slot = b"%b, %08x" % (words, crc32(words))
        place = commits % _SLOTS * _SLOT_BYTES
        os.pwrite(self._file, slot.ljust(_SLOT_BYTES - 1) + b"\n", place)


def _read(slot: bytes) -> int:
    words, _, checksum = slot.strip().partition(b", ")
    return int(words.split()[0]) if checksum == b"%08x" % crc32(words) else 0
