"""The durable store keeps the promises of all stores."""

from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import pytest

from tests.store.conformance import MAX_BYTES, TTL_S, StoreConformance, StoreMaker, opened
from vera_supervisor.store.protocol import Store
from vera_supervisor.store.sqlite.store import SqliteStore


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> StoreMaker:
        numbers = count()

        def make() -> AbstractAsyncContextManager[Store]:
            path = tmp_path / f"{next(numbers)}" / "tasks.db"
            return opened(SqliteStore(path, result_ttl_s=TTL_S, max_bytes=MAX_BYTES))

        return make
