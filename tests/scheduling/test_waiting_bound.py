"""However many urgent tasks come, a lowly one waits for a bounded number of them (O2)."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from vera_supervisor.scheduling.priority_queue import PriorityQueue

STEP_S = 60.0
LOWEST = 3


def test_endless_urgent_tasks_do_not_starve_a_lowly_one() -> None:
    queue: PriorityQueue[tuple[int, float]] = PriorityQueue(4, STEP_S)
    rng = Random(3)
    waiting: dict[tuple[int, float], float] = {}
    now = 0.0
    for _ in range(10_000):
        now += 1.0
        for rank in {0, rng.choice((0, 0, 0, LOWEST))}:
            item = (rank, now)
            queue.push(item, rank, now)
            waiting[item] = now
        started = queue.pop()
        del waiting[started]
        rank, arrived_at = started
        # Nothing that came more than LOWEST x STEP_S earlier may still wait.
        oldest = next(iter(waiting.values()), now)
        assert arrived_at <= oldest + LOWEST * STEP_S, (started, oldest)


@rounds(100)
@given(st.lists(st.tuples(st.integers(0, LOWEST), st.integers(0, 400)), max_size=60))
def test_no_one_is_overtaken_by_what_came_a_step_a_class_later(
    arrivals: list[tuple[int, int]],
) -> None:
    queue: PriorityQueue[tuple[int, float]] = PriorityQueue(LOWEST + 1, STEP_S)
    for rank, arrived_at in arrivals:
        queue.push((rank, float(arrived_at)), rank, float(arrived_at))
    order = [queue.pop() for _ in arrivals]
    for place, (rank, since) in enumerate(order):
        for other_rank, other_since in order[:place]:
            assert other_since <= since + (rank - other_rank) * STEP_S + 1e-6
