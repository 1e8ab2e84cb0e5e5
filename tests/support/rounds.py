"""How often a check is repeated: a few rounds always, many with VERA_TORTURE=1."""

import os
from collections.abc import Iterable
from typing import Final

import pytest

_TORTURE: Final = os.environ.get("VERA_TORTURE") == "1"
#: No round of a torture takes longer than this.
_ROUND_S: Final = 60


def rounds(few: int, many: int) -> pytest.MarkDecorator:
    """Run a test with `few` rounds always and with `many` under torture."""
    short = pytest.param(few, id=f"{few} rounds")
    timeout_s = max(600, min(many, 120) * _ROUND_S)
    long = pytest.param(many, id=f"{many} rounds", marks=tortured(timeout_s))
    return pytest.mark.parametrize("rounds", [short, long])


def values(few: Iterable[int], many: Iterable[int], name: str) -> pytest.MarkDecorator:
    """Run a test with `few` values always and with `many` under torture."""
    every = pytest.param(list(many), id="every", marks=tortured(600))
    return pytest.mark.parametrize(name, [pytest.param(list(few), id="some"), every])


def tortured(timeout_s: float) -> list[pytest.MarkDecorator]:
    """Return the marks of what runs under torture only."""
    return [
        pytest.mark.torture,
        pytest.mark.timeout(timeout_s),
        pytest.mark.skipif(not _TORTURE, reason="many rounds: VERA_TORTURE=1"),
    ]
