"""Several clients take turns: a flood of one does not keep the others waiting (O4)."""

from tests.scheduling.desk import Desk, desk_with
from vera_supervisor.scheduling.turns import Turns
from vera_worker.tasks import Priority, Requirements

MANY, FEW = 200, 10


def flood(desk: Desk, tasks: int = MANY, client: str | None = "a", **task: object) -> None:
    for number in range(tasks):
        desk.submit(f"{client}-{number}", client=client, **task)


def end_one(desk: Desk) -> None:
    """Let the task end that has run longest."""
    running = [slot.task_id for slot in desk.scheduler.slots if slot.task_id is not None]
    desk.end(min(running, key=desk.started.index))


def test_ten_tasks_behind_a_flood_take_twice_as_long_as_alone_at_most() -> None:
    for executors in (1, 2, 4):
        desk = desk_with(executors, queue_size=1000)
        flood(desk)
        before = len(desk.started)
        flood(desk, FEW, "b")
        while f"b-{FEW - 1}" not in desk.started:
            end_one(desk)
        assert len(desk.started) - before <= 2 * FEW


def test_what_no_client_is_known_of_is_served_as_it_came() -> None:
    desk = desk_with(1)
    flood(desk, 3, None)
    flood(desk, 2, "b")
    while len(desk.started) < 5:
        end_one(desk)
    assert desk.started == ["None-0", "None-1", "None-2", "b-0", "b-1"]


def test_alone_a_client_has_all_executors() -> None:
    desk = desk_with(4)
    flood(desk, 8)
    flood(desk, 1, "b")
    desk.end("a-0")
    assert desk.started[4:] == ["b-0"]
    desk.end("a-1")
    assert desk.started[5:] == ["a-4"]


def test_turns_are_taken_within_a_class() -> None:
    desk = desk_with(1)
    flood(desk, 4)
    flood(desk, 1, "b", priority=Priority.LOW)
    flood(desk, 1, "c")
    for _ in range(5):
        end_one(desk)
    assert desk.started == ["a-0", "c-0", "a-1", "a-2", "a-3", "b-0"]


def test_one_who_must_wait_for_something_else_does_not_take_its_turn() -> None:
    desk = desk_with(2, max_concurrency={"slow": 1})
    flood(desk, 3, function="slow")
    flood(desk, 3, "b")
    assert desk.started == ["a-0", "b-0"]
    desk.end("b-0")
    assert desk.started[-1] == "b-1", "slow is at its limit"
    desk.end("a-0")
    assert desk.started[-1] == "a-1"


def test_one_whose_only_task_expires_does_not_hold_up_the_others() -> None:
    desk = desk_with(1)
    flood(desk, 2)
    desk.submit("b-0", client="b", expires_in_s=1.0)
    desk.now += 2.0
    desk.end("a-0")
    assert desk.started == ["a-0", "a-1"]


def test_those_who_reserve_take_turns_as_well() -> None:
    desk = desk_with(1)
    flood(desk, 3, requirements=Requirements(cpu_cores=1))
    flood(desk, 1, "b", requirements=Requirements(cpu_cores=1))
    desk.end("a-0")
    assert desk.started == ["a-0", "b-0"]


def test_the_turn_is_of_who_has_least_and_then_of_who_has_waited_longest() -> None:
    turns = Turns()
    assert turns.next([]) is None
    for client in "abab":
        turns.begin(client)
    assert turns.next("ab") == "a"
    assert turns.next("abc") == "c"
    turns.end("b")
    assert turns.next("ab") == "b"
