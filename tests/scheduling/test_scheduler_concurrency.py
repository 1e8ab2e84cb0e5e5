"""A function that may run only so often at once holds up nobody but itself."""

from tests.scheduling.desk import Desk, desk_with, one
from vera_supervisor.scheduling import effects as fx
from vera_worker.tasks import Priority


def limited(executors: int = 4, **limits: int) -> Desk:
    return desk_with(executors, max_concurrency=limits, aging_step_s=60.0)


def test_no_more_attempts_run_at_once_than_the_function_may_have() -> None:
    desk = limited(slow=2)
    for number in range(5):
        desk.submit(f"{number}", function="slow")
    assert desk.started == ["0", "1"]
    desk.end("1")
    assert desk.started == ["0", "1", "2"]
    desk.lose("0")  # its retry waits behind those that are there
    assert desk.started == ["0", "1", "2", "3"]


def test_others_go_past_those_that_may_not_go() -> None:
    desk = limited(2, slow=1)
    for number in range(5):
        desk.submit(f"slow{number}", function="slow", priority=Priority.CRITICAL)
    desk.submit("quick", priority=Priority.LOW)
    assert desk.started == ["slow0", "quick"]
    assert desk.blocked_by("slow1") == "concurrency"
    desk.end("quick")
    desk.submit("next")
    assert desk.started == ["slow0", "quick", "next"]


def test_those_that_wait_keep_their_places_and_positions() -> None:
    desk = limited(1, slow=1)
    desk.submit("running")
    for name, function in {"a": "slow", "b": "work", "c": "slow", "d": "work"}.items():
        desk.submit(name, function=function)
    live = desk.scheduler.live
    assert [desk.scheduler.position(live[name]) for name in "abcd"] == [1, 2, 3, 4]
    assert desk.blocked_by("a") == "executors"
    for name in ("running", "a", "b", "c", "d"):
        desk.end(name)
    assert desk.started == ["running", "a", "b", "c", "d"]


def test_no_executor_is_started_for_what_may_not_go() -> None:
    desk = Desk(max_workers=3, max_concurrency={"slow": 1})
    desk.submit("a", function="slow")
    desk.get_ready()
    for number in range(5):
        desk.submit(f"{number}", function="slow")
    desk.pass_time(1.0)
    assert desk.states() == ["BUSY"]


def test_a_cancelled_one_among_them_leaves_no_gap() -> None:
    desk = limited(1, slow=1)
    for name in "abc":
        desk.submit(name, function="slow")
    assert one(fx.FinishTask, desk.cancel("b")).task_id == "b"
    assert desk.scheduler.pools.default.queue.ready == 0
    assert len(desk.scheduler.pools.default.queue) == 1
    desk.end("a")
    assert desk.started == ["a", "c"]


def test_a_failed_attempt_makes_room_for_another() -> None:
    desk = limited(2, slow=1)
    desk.submit("a", function="slow")
    desk.submit("b", function="slow")
    desk.throw("a")
    assert desk.started == ["a", "b"]
