"""The real worker, killed again and again while clients submit: nothing accepted is lost (D1)."""

import itertools
import random
from pathlib import Path

import pytest

from tests.history.checker import Promises, breaches
from tests.history.kill_loop import AGING_STEP_S, EXECUTORS, KillLoop
from tests.support.rounds import rounds
from vera_worker.fault_points import FaultPoint

#: max_retries is 0, limits.crash_retries 2.
MAX_ATTEMPTS = 3


@pytest.mark.system
@pytest.mark.timeout(900)
@rounds(few=50, many=1000)
def test_a_worker_killed_anywhere_keeps_its_promises(tmp_path: Path, rounds: int) -> None:
    seed = random.randrange(2**32) if rounds > 50 else 20260101
    loop = KillLoop(tmp_path, seed)
    # Three of four lives end at a named point, each of them in turn; the others end anywhere.
    points = itertools.cycle(FaultPoint)
    for number in range(rounds):
        loop.round(next(points) if number % 4 else None)
    history = loop.history()
    promises = Promises(
        at_most_once=frozenset({"noted_once"}),
        max_attempts=MAX_ATTEMPTS,
        max_running=EXECUTORS,
        aging_step_s=AGING_STEP_S,
        kills=loop.kills,
    )
    assert not loop.clients.errors + breaches(history, promises), f"seed {seed}"
    assert sum(record.status == "completed" for record in history.kept) > rounds
