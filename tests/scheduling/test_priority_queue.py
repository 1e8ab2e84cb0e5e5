"""The queue against a list that is sorted anew for every question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from vera_supervisor.scheduling.priority_queue import PriorityQueue

CLASSES = 4
#: What to do, with which, and how long after the move before. Whole numbers on purpose: equal
#: arrivals and equal keys across classes are the hard cases.
MOVES = st.tuples(
    st.sampled_from(("push", "push", "push", "pop", "remove", "put back")),
    st.integers(0, 50),
    st.sampled_from((0.0, 0.0, 1.0, 2.0)),
)


class NaiveQueue:
    """What the queue promises, written down without a thought for speed."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.entries: list[tuple[int, float, int]] = []  # rank, key, number in order of arrival

    def sorted(self) -> list[tuple[int, float, int]]:
        def order(entry: tuple[int, float, int]) -> tuple[float, float]:
            rank, key, _ = entry
            return (rank, key) if self.step_s == 0 else (key, rank)

        return sorted(self.entries, key=order)

    def first_in_is_first_out(self) -> bool:
        order = [(rank, number) for rank, _, number in self.sorted()]
        return sorted(order) == sorted(order, key=lambda entry: entry[0])


@pytest.mark.parametrize("step_s", [0.0, 1.0, 2.0])
def test_every_answer_is_that_of_a_sorted_list(step_s: float) -> None:
    @rounds(200)
    @given(st.lists(MOVES, max_size=40))
    def check(moves: list[tuple[str, int, float]]) -> None:
        queue: PriorityQueue[int] = PriorityQueue(CLASSES, step_s)
        naive = NaiveQueue(step_s)
        keys: dict[int, float] = {}
        taken: list[tuple[int, float, int]] = []
        now = 0.0
        for number, (move, which, later) in enumerate(moves):
            now += later
            expected = naive.sorted()
            if move == "push":
                rank = which % CLASSES
                keys[number] = queue.push(number, rank, now)
                assert keys[number] == pytest.approx(now + rank * step_s, abs=1e-9)
                naive.entries.append((rank, keys[number], number))
            elif move == "put back" and taken:
                entry = taken.pop(which % len(taken))
                assert queue.put_back(entry[2], entry[0], keys[entry[2]]) == keys[entry[2]]
                naive.entries.append(entry)
            elif not expected:
                with pytest.raises(IndexError):
                    queue.pop()
            elif move == "remove":
                entry = naive.entries.pop(which % len(naive.entries))
                assert queue.remove(entry[0], keys[entry[2]]) == entry[2]
            else:
                assert queue.pop() == expected[0][2]
                naive.entries.remove(expected[0])
                taken.append(expected[0])
                now += 1.0  # what comes after it does not come at its moment
            expected = naive.sorted()
            assert naive.first_in_is_first_out()
            assert len(queue) == queue.length == len(expected)
            assert sum(queue.lengths()) == len(expected)
            assert [queue.position(rank, keys[n]) for rank, _, n in expected] == list(
                range(1, len(expected) + 1)
            )

    check()


@pytest.mark.parametrize("step_s", [0.0, 60.0])
def test_within_a_class_the_first_in_is_the_first_out_even_at_one_moment(step_s: float) -> None:
    queue: PriorityQueue[int] = PriorityQueue(CLASSES, step_s)
    for number in range(1000):
        queue.push(number, 1, 5.0)
    assert [queue.pop() for _ in range(1000)] == list(range(1000))


def test_what_comes_at_the_moment_of_one_that_is_gone_does_not_take_its_place() -> None:
    queue: PriorityQueue[str] = PriorityQueue(CLASSES, 60.0)
    queue.push("first", 1, 5.0)
    queue.push("second", 1, 5.0)
    assert queue.pop() == "first"
    queue.push("third", 1, 5.0)
    assert [queue.pop(), queue.pop()] == ["second", "third"]


def test_who_comes_late_with_an_early_arrival_goes_before_those_who_arrived_after() -> None:
    queue: PriorityQueue[str] = PriorityQueue(CLASSES, 60.0)
    queue.push("second", 1, 2.0)
    queue.push("third", 1, 3.0)
    queue.push("first", 1, 1.0)
    assert [queue.pop() for _ in range(3)] == ["first", "second", "third"]


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


def test_an_empty_queue_has_no_first() -> None:
    queue: PriorityQueue[int] = PriorityQueue(CLASSES, 1.0)
    with pytest.raises(IndexError, match="empty queue"):
        queue.pop()


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
