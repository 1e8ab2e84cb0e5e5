"""S2: how long a token is looked at says nothing about how much of it is right.

Two kinds of wrong tokens are tried in random order: such that begin as the right one does, and
such that do not. Their times must not differ by more than chance: |t| of Welch's test below 4.5.
"""

import random
import secrets
import time
from collections.abc import Callable
from math import sqrt
from statistics import fmean, variance
from typing import Final

from vera_supervisor.access import credential, find

TOKEN = secrets.token_urlsafe(32).encode()
KNOWN = [credential(secrets.token_urlsafe(32)) for _ in range(3)] + [credential(TOKEN.decode())]
_TRIES: Final = 100_000


def welch_t(look: Callable[[bytes], object], seed: int) -> float:
    """Return t of the times that `look` takes for both kinds of tokens.

    Each token is an object of its own, and which kind it is of is looked at when all is measured:
    else it is the caches of this loop that would tell them apart.
    """
    rng = random.Random(seed)
    kinds = [rng.random() < 0.5 for _ in range(_TRIES)]
    tokens = [_wrong_token(alike) for alike in kinds]
    times: list[int] = []
    for token in tokens:
        began = time.perf_counter_ns()
        look(token)
        times.append(time.perf_counter_ns() - began)
    # What the machine was interrupted in says nothing: the slowest tenth is left out.
    cut = sorted(times)[_TRIES * 9 // 10]
    kept = [(alike, t) for alike, t in zip(kinds, times, strict=True) if t <= cut]
    one, other = ([t for alike, t in kept if alike is kind] for kind in (True, False))
    return (fmean(one) - fmean(other)) / sqrt(
        variance(one) / len(one) + variance(other) / len(other)
    )


def _wrong_token(alike: bool) -> bytes:
    """Return a token that is wrong in its last letter, or anywhere."""
    other = secrets.token_urlsafe(32).encode()
    last = other[-1:] if other[-1] != TOKEN[-1] else b"!"
    return TOKEN[:-1] + last if alike else other[:-1] + last


def letter_by_letter(token: bytes) -> bool:
    """Compare as it must not be done."""
    return all(a == b for a, b in zip(token, TOKEN, strict=False))


#: What is told by time is told each time; what a busy machine does is not.
SEEDS: Final = range(3)


def test_no_token_is_told_from_another_by_time() -> None:
    assert any(abs(welch_t(lambda token: find(token, KNOWN), seed)) < 4.5 for seed in SEEDS)


def test_such_a_difference_would_be_seen() -> None:
    assert all(abs(welch_t(letter_by_letter, seed)) > 4.5 for seed in SEEDS)
