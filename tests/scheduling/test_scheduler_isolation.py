"""A function that runs alone: an executor each, which had no task before and gets none after."""

from tests.fakes.makers import ALONE
from tests.scheduling.desk import Desk, desk_with, one, only
from vera_supervisor.scheduling import effects as fx


def test_an_executor_that_has_had_such_a_task_is_let_go() -> None:
    desk = desk_with(1)
    assert one(fx.Assign, desk.submit("a", function=ALONE)).slot_id == 1
    assert one(fx.Retire, desk.end("a")).slot_id == 1


def test_it_does_not_go_to_an_executor_that_was_used() -> None:
    desk = desk_with(1)
    desk.submit("a")
    desk.end("a")
    assert one(fx.Retire, desk.submit("b", function=ALONE)).slot_id == 1
    assert desk.started == ["a"]
    assert desk.blocked_by("b") == "executors"
    desk.vanish(1)
    desk.get_ready()
    assert desk.started == ["a", "b"]


def test_where_there_is_room_another_executor_is_started_instead() -> None:
    desk = Desk(max_workers=2)
    desk.submit("a")
    desk.get_ready()
    desk.end("a")
    effects = desk.submit("b", function=ALONE)
    assert only(fx.Retire, effects) == []
    assert one(fx.Launch, effects).slot_id == 2
    desk.submit("c")
    assert desk.started == ["a", "c"], "others go past it meanwhile"
    desk.get_ready()
    assert desk.started == ["a", "c", "b"]


def test_as_many_are_started_as_wait_for_one() -> None:
    desk = Desk(max_workers=3)
    desk.submit("a")
    desk.get_ready()
    desk.end("a")
    for name in "bcd":
        desk.submit(name, function=ALONE)
    assert len(only(fx.Launch, desk.effects)) == 3
    assert len(only(fx.Retire, desk.effects)) == 1


def test_a_flood_of_others_does_not_keep_it_waiting() -> None:
    desk = desk_with(1, aging_step_s=0.0)
    desk.submit("a")
    desk.submit("alone", function=ALONE)
    for number in range(10):
        desk.submit(f"{number}")
    desk.end("a")
    desk.vanish(1)
    desk.get_ready()
    assert desk.started == ["a", "alone"]


def test_an_executor_is_let_go_after_so_many_tasks() -> None:
    desk = desk_with(1, max_tasks=2)
    desk.submit("a")
    assert only(fx.Retire, desk.end("a")) == []
    desk.submit("b")
    assert one(fx.Retire, desk.end("b")).slot_id == 1
    desk.vanish(1)
    assert one(fx.Launch, desk.effects[-1:]).slot_id == 2
