"""New code while tasks run and wait: who runs it, and what becomes of tasks whose function is gone.

U4: these wait, and cost nothing.
"""

from typing import Any

import msgspec
import pytest

from tests.fakes.makers import ALONE, GPUS, INFER, ONCE, gpu_pool, make_policy, make_task
from tests.scheduling.desk import Desk, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.roster import FIRST_START_DELAY_S
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure, Record

ALL = frozenset({"work", "other", ONCE, ALONE, INFER})


def desk_with(executors: int, **policy: Any) -> Desk:
    """Return a desk with so many idle executors."""
    policy = {"min_workers": executors, "max_workers": executors, "functions": ALL} | policy
    desk = Desk(**policy)
    desk.get_ready()
    return desk


def reload(desk: Desk, **changes: Any) -> list[fx.Effect]:
    """Have new code, and what else has changed, take effect; return what that leads to."""
    desk.scheduler.obey(msgspec.structs.replace(desk.scheduler.policy, **changes))
    return desk.tell(ev.CodeReplaced())


def leave(desk: Desk, effects: list[fx.Effect]) -> None:
    """The executors that were let go, or killed, are gone."""
    for effect in effects:
        if isinstance(effect, fx.Retire | fx.Kill):
            desk.tell(ev.ExecutorLost(effect.slot_id, "it left"))


def left(task_id: str, status: Status, function: str) -> Record:
    task = make_task(task_id, function=function, queued_at=1.0e9 + 400)
    return Record(task=task, number=1, status=status, attempt=1)


def test_idle_executors_go_at_once_and_busy_ones_when_their_task_has_ended() -> None:
    desk = desk_with(3)
    desk.submit("a")
    old = desk.slot_of("a").slot_id
    effects = reload(desk)
    assert {e.slot_id for e in only(fx.Retire, effects)} == {1, 2, 3} - {old}
    leave(desk, effects)
    desk.get_ready()
    desk.submit("b")
    assert desk.slot_of("b").slot_id > 3, "the new task has an executor of the new generation"
    assert one(fx.Retire, desk.end("a")).slot_id == old
    assert only(fx.Retire, desk.end("b")) == []


def test_one_that_is_being_checked_goes_as_well() -> None:
    desk = desk_with(1, check_interval_s=5.0)
    desk.pass_time(5.0)
    one(fx.Check, desk.effects)
    assert one(fx.Retire, reload(desk)).slot_id == 1
    desk.tell(ev.ExecutorAnswered(1))
    desk.submit("a")
    assert desk.started == []


def test_one_that_is_not_ready_yet_is_killed_and_that_is_no_failed_start() -> None:
    desk = Desk(min_workers=2, max_workers=2, functions=ALL)
    desk.tell(ev.TimePassed())
    effects = reload(desk)
    assert {e.slot_id for e in only(fx.Kill, effects)} == {1, 2}
    leave(desk, effects)
    assert desk.scheduler.pools.default.roster.failed_starts == 0
    assert {e.slot_id for e in only(fx.Launch, desk.effects)} == {1, 2, 3, 4}
    desk.tell(ev.ExecutorReady(1))
    desk.submit("a")
    assert desk.started == []


def test_new_code_is_not_made_to_wait_for_the_failures_of_the_old() -> None:
    """P9: recovers when it is mended and reloaded."""
    desk = Desk(min_workers=1, max_workers=1, functions=ALL)
    desk.tell(ev.TimePassed())
    for slot_id in range(1, 9):
        desk.tell(ev.ExecutorLost(slot_id, "it died"))
        desk.pass_time(FIRST_START_DELAY_S * 2.0 ** (slot_id - 1))
    desk.tell(ev.ExecutorLost(9, "it died"))
    roster = desk.scheduler.pools.default.roster
    assert (roster.failed_starts, len(roster)) == (9, 0)
    one(fx.Launch, reload(desk))
    assert roster.failed_starts == 0


@pytest.mark.parametrize("stored", [True, False])
def test_a_task_that_waits_for_its_start_to_be_stored_keeps_its_executor(stored: bool) -> None:
    desk = desk_with(1)
    desk.hold(fx.StartAttempt)
    desk.submit("a", function=ONCE)
    assert only(fx.Retire, reload(desk)) == []
    effects = desk.saved() if stored else desk.save_failed()
    if stored:
        assert one(fx.Assign, effects).slot_id == 1
        effects = desk.end("a")
    assert one(fx.Retire, effects).slot_id == 1


def test_a_task_of_a_function_that_is_gone_waits_and_lets_others_past() -> None:
    desk = desk_with(1)
    desk.submit("busy")
    for task_id, function in (("a", "other"), ("b", "work"), ("c", "other"), ("d", "work")):
        desk.submit(task_id, function=function)
    reload(desk, functions=ALL - {"other"})
    assert [desk.blocked_by(t) for t in "abcd"] == [
        "unknown_function",
        "executors",
        "unknown_function",
        "executors",
    ]
    assert desk.scheduler.waiting.unknown() == {"other": 2}
    leave(desk, desk.end("busy"))
    desk.get_ready()
    desk.end("b")
    assert desk.started == ["busy", "b", "d"]
    assert desk.scheduler.live["a"].attempt == 0
    leave(desk, reload(desk, functions=ALL))
    leave(desk, desk.end("d"))
    desk.get_ready()
    desk.end("a")
    assert desk.started == ["busy", "b", "d", "a", "c"], "in the order in which they had come"


def test_it_waits_after_a_delay_a_dependency_and_a_failed_attempt_as_well() -> None:
    desk = desk_with(2)
    for task_id in ("retried", "first"):
        desk.submit(task_id, function="other", max_retries=1, retry_delay_s=1.0)
    desk.submit("delayed", function="other", delay_s=5.0)
    desk.submit("dependent", function="other", depends_on=("first",))
    leave(desk, reload(desk, functions=ALL - {"other"}))
    assert desk.blocked_by("delayed") == "delay"
    assert desk.blocked_by("dependent") == "dependencies"
    leave(desk, desk.throw("retried"))
    leave(desk, desk.end("first"))
    desk.get_ready()
    desk.pass_time(100.0)
    for task_id in ("retried", "delayed", "dependent"):
        assert desk.blocked_by(task_id) == "unknown_function"
    assert desk.started == ["retried", "first"]
    assert one(fx.FinishTask, desk.cancel("delayed")).status is Status.CANCELLED
    leave(desk, reload(desk, functions=ALL))
    desk.get_ready()
    assert set(desk.started[2:]) == {"retried", "dependent"}
    assert desk.scheduler.live["retried"].attempt == 2


def test_one_that_ran_when_the_worker_was_lost_is_settled_when_its_function_is_back() -> None:
    desk = desk_with(1, functions=frozenset({"work"}))
    lost = (left("a", Status.RUNNING, "other"), left("b", Status.RUNNING, ONCE))
    assert only(fx.RequeueTask | fx.FinishTask, desk.recover(*lost)) == []  # type: ignore[type-var]
    assert desk.scheduler.waiting.unknown() == {"other": 1, ONCE: 1}
    effects = reload(desk, functions=ALL)
    assert one(fx.RequeueTask, effects).task_id == "a"
    finish = one(fx.FinishTask, effects)
    assert finish.task_id == "b", "it must not be started twice"
    assert isinstance(finish.failure, Failure)
    assert finish.failure.cause is Cause.WORKER_LOST
    leave(desk, effects)
    desk.get_ready()
    desk.pass_time(60.0)
    assert desk.started == ["a"]


def test_a_limit_that_is_new_counts_those_that_run_already() -> None:
    desk = desk_with(3)
    for task_id in ("a", "b"):
        desk.submit(task_id)
    leave(desk, reload(desk, max_concurrency={"work": 2}))
    desk.get_ready()
    desk.submit("c")
    assert desk.blocked_by("c") == "concurrency"
    leave(desk, reload(desk, max_concurrency={"work": 1}))
    leave(desk, desk.end("a"))
    desk.get_ready()
    assert desk.blocked_by("c") == "concurrency"
    leave(desk, desk.end("b"))
    desk.get_ready()
    assert desk.started == ["a", "b", "c"]


@pytest.mark.parametrize("limits", [{}, {"work": 3}])
def test_a_limit_that_is_raised_or_gone_lets_those_start_that_wait(limits: dict[str, int]) -> None:
    desk = desk_with(3, max_concurrency={"work": 1})
    for task_id in ("a", "b", "c"):
        desk.submit(task_id)
    assert desk.started == ["a"]
    leave(desk, reload(desk, max_concurrency=limits))
    desk.get_ready()
    assert desk.started == ["a", "b", "c"]


def test_a_function_can_come_to_have_executors_to_itself_and_a_pool_while_its_tasks_wait() -> None:
    desk = Desk(functions=ALL, min_workers=1, max_workers=1, **gpu_pool(max_workers=1))
    desk.get_ready()
    for task_id in ("busy", "a", "b"):
        desk.submit(task_id)
    routes = {INFER: GPUS, "work": GPUS}
    leave(desk, reload(desk, alone=frozenset({"work"}), routes=routes))
    desk.get_ready()
    assert desk.started == ["busy", "a"]
    assert desk.slot_of("a").pool == GPUS
    leave(desk, desk.end("a"))
    desk.get_ready()
    assert desk.started == ["busy", "a", "b"]


def test_a_policy_that_says_the_same_of_functions_moves_no_task() -> None:
    desk = Desk(functions=ALL, min_workers=0, max_workers=1)
    desk.submit("a")
    before = desk.scheduler.live["a"].key
    desk.scheduler.obey(make_policy(functions=ALL, max_workers=1, queue_size=5))
    assert desk.scheduler.live["a"].key == before
