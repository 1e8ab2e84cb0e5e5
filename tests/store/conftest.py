"""What tests of the durable store begin with."""

import pytest

from tests.store.broken_disk import BrokenDisk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> BrokenDisk:
    """Return what can break the disk of all stores."""
    return BrokenDisk(monkeypatch)
