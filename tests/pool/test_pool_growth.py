"""When an executor has grown by too much; what it holds is told by the test."""

import os

from vera_supervisor.pool.growth import LOOK_INTERVAL_S, Growth
from vera_supervisor.pool.memory import resident_bytes

MIB = 2**20


class Scales:
    """Says what a process holds, and how often it was asked."""

    def __init__(self) -> None:
        self.bytes = 20 * MIB
        self.asked = 0

    def __call__(self, pid: int) -> int:
        assert pid == 7
        self.asked += 1
        return self.bytes


def test_what_the_first_task_loaded_is_no_growth() -> None:
    scales = Scales()
    growth = Growth(7, 100 * MIB, scales)
    scales.bytes = 900 * MIB
    assert growth.after_task(1.0) is None
    scales.bytes = 1000 * MIB
    assert growth.after_task(10.0) is None
    scales.bytes += 1 * MIB
    assert growth.after_task(20.0) == "it has grown by 101 MiB, and max_growth is 100 MiB"


def test_it_is_not_looked_at_after_every_short_task() -> None:
    scales = Scales()
    growth = Growth(7, 1 * MIB, scales)
    for number in range(1000):
        growth.after_task(number * LOOK_INTERVAL_S / 100)
    assert scales.asked == 10
    scales.bytes += 2 * MIB
    assert growth.after_task(10 * LOOK_INTERVAL_S - 0.01) is None
    assert growth.at_rest(10 * LOOK_INTERVAL_S - 0.01), "a self-check always looks"


def test_without_a_bound_nobody_looks() -> None:
    scales = Scales()
    growth = Growth(7, None, scales)
    assert growth.after_task(1.0) is growth.at_rest(2.0) is None
    assert scales.asked == 0


def test_what_this_process_holds_is_known() -> None:
    before = resident_bytes(os.getpid())
    hoard = bytearray(b"x") * (64 * MIB)
    assert resident_bytes(os.getpid()) > before + 48 * MIB
    assert len(hoard) == 64 * MIB
    assert resident_bytes(2**31) == 0
