"""Which versions of SQLite can lose commits, and why this store does not."""

from typing import Final

_FIRST: Final = (3, 7, 0)
_FIXED: Final = (3, 51, 3)
#: Older lines that have the repair, from this patch on.
_BACKPORTS: Final = {(3, 44): 6, (3, 50): 7}


def wal_reset_warning(version: tuple[int, int, int]) -> str | None:
    """Return one line about SQLite's WAL-reset bug where `version` has it, else None."""
    repaired = _BACKPORTS.get(version[:2])
    if not _FIRST <= version < _FIXED or (repaired is not None and version[2] >= repaired):
        return None
    return (
        f"SQLite {'.'.join(map(str, version))} has the WAL-reset bug (repaired in 3.51.3): this "
        f"worker is not exposed, its one connection does all writes and checkpoints, but no other "
        f"program should write to the store"
    )
