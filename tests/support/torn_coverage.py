"""Removes the coverage that was torn: processes that tests kill may be writing theirs.

One file that is whole at its beginning only would end `coverage combine` with what it has so far.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def torn(file: Path) -> bool:
    """Return whether a file of coverage cannot be read to its end."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            (verdict,) = connection.execute("pragma quick_check(1)").fetchone()
            return bool(verdict != "ok" or not connection.execute("select * from meta").fetchall())
    except sqlite3.Error:
        return True


def main(directory: Path) -> None:
    """Remove what is torn, and say how much."""
    found = [file for file in directory.glob(".coverage.*") if torn(file)]
    for file in found:
        file.unlink(missing_ok=True)
    if found:
        sys.stdout.write(f"coverage of {len(found)} processes was torn, and is left out\n")


if __name__ == "__main__":
    main(Path.cwd())
