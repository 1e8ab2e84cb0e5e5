"""The store in memory keeps the promises of all stores."""

import pytest

from tests.store.conformance import StoreConformance
from tests.store.stories import MAX_BYTES, TTL_S, StoreMaker, opened
from vera_supervisor.store.memory import MemoryStore


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def make_store(self) -> StoreMaker:
        return lambda: opened(MemoryStore(result_ttl_s=TTL_S, max_bytes=MAX_BYTES))
