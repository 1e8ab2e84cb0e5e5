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

import pytest

from tests.support.rounds import rounds
from vera_supervisor.access import credential, find

TOKEN = secrets.token_urlsafe(32).encode()
KNOWN = [credential(secrets.token_urlsafe(32)) for _ in range(3)] + [credential(TOKEN.decode())]


def welch_t(look: Callable[[bytes], object], tries: int, seed: int) -> float:
    """Return t of the times that `look` takes for both kinds of tokens."""
    rng = random.Random(seed)
    tokens = {
        True: [TOKEN[:-1] + bytes([c]) for c in b"-_0123456789" if c != TOKEN[-1]],
        False: [secrets.token_urlsafe(32).encode() for _ in range(12)],
    }
    times: dict[bool, list[int]] = {True: [], False: []}
    for _ in range(tries):
        alike = rng.random() < 0.5
        token = rng.choice(tokens[alike])
        began = time.perf_counter_ns()
        look(token)
        times[alike].append(time.perf_counter_ns() - began)
    # What the machine was interrupted in says nothing: the slowest tenth is left out.
    cut = sorted(times[True] + times[False])[tries * 9 // 10]
    one, other = ([t for t in some if t <= cut] for some in times.values())
    return (fmean(one) - fmean(other)) / sqrt(
        variance(one) / len(one) + variance(other) / len(other)
    )


def letter_by_letter(token: bytes) -> bool:
    """Compare as it must not be done."""
    return all(a == b for a, b in zip(token, TOKEN, strict=False))


#: What is told by time is told each time; what a busy machine does is not.
SEEDS = range(4)


@rounds(few=10_000, many=100_000)
def test_no_token_is_told_from_another_by_time(rounds: int) -> None:
    assert any(abs(welch_t(lambda token: find(token, KNOWN), rounds, s)) < 4.5 for s in SEEDS)


@pytest.mark.parametrize("tries", [5_000])
def test_such_a_difference_would_be_seen(tries: int) -> None:
    assert all(abs(welch_t(letter_by_letter, tries, seed)) > 4.5 for seed in SEEDS)
