"""A disk that can be broken, and mended, between two commits."""

import asyncio
import sqlite3
from typing import Any

import pytest

from vera_supervisor.store.sqlite import writer
from vera_supervisor.store.sqlite.database import Database
from vera_supervisor.store.sqlite.store import SqliteStore


class BrokenDisk:
    """While `broken`, commits fail: before they are carried out, or after."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.broken = False
        self.carries_out = False
        self._commit, self._prove = Database.commit, Database.prove
        patch.setattr(Database, "commit", lambda *args: self._do(self._commit, *args))
        patch.setattr(Database, "prove", lambda *args: self._do(self._prove, *args))
        patch.setattr(writer, "RETRY_S", 0.01)

    def _do(self, call: Any, *args: Any) -> Any:
        if self.broken and not self.carries_out:
            raise sqlite3.OperationalError("disk I/O error")
        done = call(*args)
        if self.broken:
            raise sqlite3.OperationalError("disk I/O error")
        return done


async def until_well(store: SqliteStore) -> None:
    """Return once the store can write again."""
    while store.fault is not None:  # noqa: ASYNC110 - the store has no event for it
        await asyncio.sleep(0)
