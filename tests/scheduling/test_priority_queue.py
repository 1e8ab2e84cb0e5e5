"""The queue against a list that is sorted anew for every question."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from vera_supervisor.priority_queue import PriorityQueue

CLASSES = 4
#: Whole numbers on purpose: equal arrivals and equal keys across classes are the hard cases.
ARRIVALS = st.integers(0, 6).map(float)
PUSH = st.tuples(st.just("push"), st.integers(0, CLASSES - 1), ARRIVALS)
POP = st.tuples(st.just("pop"), st.just(0), st.just(0.0))
REMOVE = st.tuples(st.just("remove"), st.integers(0, 50), st.just(0.0))


class NaiveQueue:
    """What the queue promises, written down without a thought for speed."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.entries: list[tuple[int, float, int]] = []  # rank, arrival, number

    def order(self, entry: tuple[int, float, int]) -> tuple[float, ...]:
        rank, arrived_at, number = entry
        if self.step_s == 0:
            return (rank, arrived_at, number)
        return (arrived_at + rank * self.step_s, rank, number)

    def sorted(self) -> list[tuple[int, float, int]]:
        return sorted(self.entries, key=self.order)


@pytest.mark.parametrize("step_s", [0.0, 1.0, 2.0])
def test_every_answer_is_that_of_a_sorted_list(step_s: float) -> None:
    @rounds(150)
    @given(st.lists(st.one_of(PUSH, PUSH, POP, REMOVE), max_size=40))
    def check(moves: list[tuple[str, int, float]]) -> None:
        queue: PriorityQueue[int] = PriorityQueue(CLASSES, step_s)
        naive = NaiveQueue(step_s)
        keys: dict[int, float] = {}
        for number, (move, which, arrived_at) in enumerate(moves):
            expected = naive.sorted()
            if move == "push":
                keys[number] = queue.push(number, which, arrived_at)
                naive.entries.append((which, arrived_at, number))
            elif not expected:
                with pytest.raises(IndexError):
                    queue.pop()
            elif move == "pop":
                assert queue.pop() == expected[0][2]
                naive.entries.remove(expected[0])
            else:
                entry = naive.entries.pop(which % len(naive.entries))
                assert queue.remove(entry[0], keys[entry[2]]) == entry[2]
            expected = naive.sorted()
            assert len(queue) == queue.length == len(expected)
            assert sum(queue.lengths()) == len(expected)
            assert [queue.position(rank, keys[n]) for rank, _, n in expected] == list(
                range(1, len(expected) + 1)
            )
            if expected:
                assert queue.peek() == expected[0][2]

    check()


@pytest.mark.parametrize("step_s", [0.0, 60.0])
def test_within_a_class_the_first_in_is_the_first_out_even_at_one_moment(step_s: float) -> None:
    queue: PriorityQueue[int] = PriorityQueue(CLASSES, step_s)
    for number in range(1000):
        queue.push(number, 1, 5.0)
    assert [queue.pop() for _ in range(1000)] == list(range(1000))


def test_strict_classes_never_mix() -> None:
    queue: PriorityQueue[str] = PriorityQueue(CLASSES, 0.0)
    queue.push("low", 3, 0.0)
    queue.push("critical", 0, 1e9)
    assert queue.pop() == "critical"


def test_of_equal_keys_the_higher_class_goes_first() -> None:
    queue: PriorityQueue[str] = PriorityQueue(CLASSES, 10.0)
    queue.push("normal", 2, 0.0)
    queue.push("high", 1, 10.0)
    queue.push("critical", 0, 20.0)
    assert [queue.pop() for _ in range(3)] == ["critical", "high", "normal"]


@pytest.mark.parametrize("ask", [PriorityQueue.pop, PriorityQueue.peek])
def test_an_empty_queue_has_no_first(ask: Callable[[PriorityQueue[int]], int]) -> None:
    with pytest.raises(IndexError, match="empty queue"):
        ask(PriorityQueue(CLASSES, 1.0))


def test_what_is_not_there_cannot_be_removed() -> None:
    queue: PriorityQueue[int] = PriorityQueue(CLASSES, 1.0)
    key = queue.push(1, 2, 0.0)
    with pytest.raises(KeyError):
        queue.remove(1, key)
    queue.pop()
    with pytest.raises(KeyError):
        queue.remove(2, key)
    assert len(queue) == 0


def test_lengths_are_by_class_most_urgent_first() -> None:
    queue: PriorityQueue[int] = PriorityQueue(CLASSES, 1.0)
    for rank in (0, 2, 2, 3):
        queue.push(rank, rank, 0.0)
    queue.pop()
    assert queue.lengths() == [0, 0, 2, 1]
