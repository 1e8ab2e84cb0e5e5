"""What `store.url` names."""

from pathlib import Path
from typing import Final

_SQLITE: Final = "sqlite:///"


def database_path(url: str) -> Path | None:
    """Return the database file that `url` names, or None for the store in memory."""
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None
