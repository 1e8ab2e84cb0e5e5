"""What becomes of the tasks that an earlier run left."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import ONCE, make_policy, make_task, rounds
from tests.scheduling.desk import WALL, Desk, desk_with, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.arrivals import CAREFUL_STARTS
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Priority, Record, Spent


def left(task_id: str, **changes: Any) -> Record:
    """Return the record of a task that an earlier run left queued, unless told otherwise."""
    record = {
        name: changes.pop(name)
        for name in ("status", "attempt", "spent", "ready_at", "started_at")
        if name in changes
    }
    return Record(task=make_task(task_id, **changes), **record)


def lost(task_id: str, **changes: Any) -> Record:
    """Return the record of a task that ran when the worker was lost."""
    return left(task_id, status=Status.RUNNING, **{"attempt": 1} | changes)


def order_of_starts(desk: Desk) -> list[str]:
    while desk.scheduler.live:
        running = [slot.task_id for slot in desk.scheduler.slots if slot.task_id]
        if running:
            desk.end(running[0])
        else:
            desk.pass_time(1.0)
    return desk.started


def test_nothing_starts_before_all_are_taken_up() -> None:
    desk = desk_with(2)
    desk.tell(ev.Recovered((left("low", priority=Priority.LOW),), WALL, more=True))
    desk.pass_time(100.0)
    assert desk.started == []
    desk.tell(ev.Recovered((left("high", priority=Priority.HIGH),), WALL, more=False))
    assert desk.started == ["high", "low"]


def test_a_delay_that_passes_meanwhile_starts_nothing_before_all_are_taken_up() -> None:
    desk = desk_with(1)
    desk.tell(ev.Recovered((left("delayed", run_at=WALL + 1.0),), WALL, more=True))
    desk.pass_time(10.0)
    assert desk.started == []
    desk.tell(ev.Recovered((), WALL, more=False))
    assert desk.started == ["delayed"]


def test_tasks_start_in_the_order_of_their_classes_and_acceptance() -> None:
    desk = desk_with(1)
    names = ["n1", "l1", "c1", "n2", "h1", "c2"]
    priorities = {p.value[0]: p for p in Priority}
    desk.recover(*(left(name, priority=priorities[name[0]]) for name in names))
    assert order_of_starts(desk) == ["c1", "c2", "h1", "n1", "n2", "l1"]


def test_a_wall_clock_that_went_back_changes_nothing_of_the_order() -> None:
    desk = desk_with(1)
    times = {"a": WALL - 10.0, "b": WALL - 3610.0, "c": WALL + 9999.0, "d": WALL - 3600.0}
    desk.recover(*(left(name, queued_at=at) for name, at in times.items()))
    assert order_of_starts(desk) == ["a", "b", "c", "d"]


def test_new_tasks_come_after_those_taken_up() -> None:
    desk = desk_with(1)
    desk.recover(left("old", queued_at=WALL + 3600.0), left("older"))
    desk.submit("new")
    assert order_of_starts(desk) == ["old", "older", "new"]


def test_the_bound_of_waiting_holds_across_a_restart() -> None:
    desk = desk_with(1)  # a class is worth 60 s
    desk.recover(
        left("normal", queued_at=WALL - 100.0),
        left("critical", queued_at=WALL, priority=Priority.CRITICAL),
        left("low", queued_at=WALL, priority=Priority.LOW),
    )
    # Two classes are worth 120 s: the normal one came 100 s before.
    assert order_of_starts(desk) == ["critical", "normal", "low"]
    desk = desk_with(1)
    desk.recover(
        left("normal", queued_at=WALL - 130.0),
        left("critical", queued_at=WALL, priority=Priority.CRITICAL),
    )
    assert order_of_starts(desk) == ["normal", "critical"]


def test_a_task_that_ran_is_tried_again_at_the_cost_of_a_crash_and_that_is_stored() -> None:
    desk = desk_with(1)
    effects = desk.recover(lost("a", attempt=2, spent=Spent(retries=1)))
    requeue = one(fx.RequeueTask, effects)
    assert requeue.failure.cause is Cause.WORKER_LOST
    assert requeue.spent == Spent(retries=1, crashes=1)
    assert requeue.attempt == 2
    assert desk.scheduler.running == 0
    desk.pass_time(requeue.delay_s)
    assert one(fx.Assign, desk.effects).attempt == 3


def test_a_task_that_kills_the_worker_at_once_is_given_up_all_the_same() -> None:
    """Of its first start the store never heard."""
    record, lives = left("a"), 0
    while lives < 9:
        desk = desk_with(1, crash_retries=2)
        effects = desk.recover(record) + [effect for _, effect in desk.pass_time(5.0)]
        ends = only(fx.FinishTask, effects)
        if ends:
            break
        lives += 1
        start = one(fx.StartAttempt, effects)  # it is stored, and nothing after it
        assert start.acknowledge
        spent = [requeue.spent for requeue in only(fx.RequeueTask, effects)]
        record = lost("a", attempt=start.attempt, spent=(spent or [Spent()])[0])
    (end,) = ends
    assert end.failure is not None
    assert end.failure.cause is Cause.WORKER_LOST
    assert (end.attempt, lives) == (3, 3)


def test_after_a_while_a_start_waits_for_the_store_no_longer() -> None:
    desk = desk_with(1, queue_size=CAREFUL_STARTS + 2)
    desk.recover(*(left(f"{number}") for number in range(CAREFUL_STARTS + 1)))
    order_of_starts(desk)
    waited = [start.acknowledge for start in only(fx.StartAttempt, desk.effects)]
    assert waited == [True] * CAREFUL_STARTS + [False]


def test_a_task_that_loses_its_worker_again_and_again_is_given_up() -> None:
    desk = desk_with(1, crash_retries=2)
    effects = desk.recover(lost("a", attempt=3, spent=Spent(crashes=2)))
    finish = one(fx.FinishTask, effects)
    assert finish.status is Status.FAILED
    assert finish.failure is not None
    assert finish.failure.cause is Cause.WORKER_LOST
    assert one(fx.Announce, effects).task.task_id == "a"
    assert desk.scheduler.live == {}
    assert desk.started == []


def test_a_task_that_must_not_run_twice_fails_when_its_worker_was_lost() -> None:
    desk = desk_with(1)
    effects = desk.recover(lost("a", function=ONCE))
    failure = one(fx.FinishTask, effects).failure
    assert failure is not None
    assert failure.cause is Cause.WORKER_LOST
    assert desk.started == []


def test_what_was_interrupted_goes_on_at_no_cost() -> None:
    desk = desk_with(1)
    effects = desk.recover(left("a", attempt=0, spent=Spent(crashes=2)))
    assert only(fx.RequeueTask, effects) == only(fx.FinishTask, effects) == []
    assert one(fx.Assign, effects).attempt == 1


@pytest.mark.parametrize("field", ["run_at", "ready_at"])
def test_times_of_the_wall_clock_become_delays_of_this_run(field: str) -> None:
    desk = desk_with(1)
    desk.recover(left("a", spent=Spent(retries=1), retry_delay_s=60.0, **{field: WALL + 30.0}))
    assert desk.blocked_by("a") == "delay"
    assert [t for t, e in desk.pass_time(60.0) if isinstance(e, fx.Assign)] == [30.0]


def test_a_retry_that_was_due_keeps_the_place_that_it_would_have_had() -> None:
    desk = desk_with(1)
    desk.recover(
        left("retried", queued_at=WALL - 90.0, attempt=1, ready_at=WALL - 50.0),
        left("before", queued_at=WALL - 60.0),
        left("after", queued_at=WALL - 40.0),
    )
    assert order_of_starts(desk) == ["before", "retried", "after"]


def test_a_task_whose_time_to_start_passed_meanwhile_expires() -> None:
    desk = desk_with(1)
    effects = desk.recover(left("late", expires_at=WALL - 1.0), left("timely", expires_at=WALL + 9))
    failure = one(fx.FinishTask, effects).failure
    assert failure is not None
    assert failure.cause is Cause.EXPIRED
    assert desk.started == ["timely"]


def test_a_task_of_an_earlier_run_fails_when_its_time_to_start_passes() -> None:
    desk = desk_with(0)
    desk.recover(
        left("waits", expires_at=WALL + 9.0), left("is late", run_at=WALL + 60.0, expires_at=WALL)
    )
    ends = [(at, e) for at, e in desk.pass_time(60.0) if isinstance(e, fx.FinishTask)]
    assert [(at, end.task_id) for at, end in ends] == [(0.0, "is late"), (9.0, "waits")]


def test_the_limit_of_the_queue_is_for_new_tasks_only() -> None:
    desk = desk_with(1, queue_size=2)
    desk.recover(*(left(f"{n}") for n in range(10)))
    assert desk.scheduler.queued == 9
    assert one(fx.Refuse, desk.submit("new")).refusal is fx.Refusal.QUEUE_FULL
    assert order_of_starts(desk) == [f"{n}" for n in range(10)]


def test_a_known_task_sent_again_is_known_after_a_restart() -> None:
    desk = desk_with(0)
    desk.recover(left("a", digest=b"one"))
    assert one(fx.Accept, desk.submit("a", digest=b"one")).known
    assert one(fx.Refuse, desk.submit("a", digest=b"two")).refusal is fx.Refusal.CONFLICT


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_a_task_whose_function_is_gone_is_parked_and_costs_nothing(status: Status) -> None:
    desk = desk_with(1, functions=frozenset({"other"}))
    assert desk.recover(left("a", attempt=1, status=status), left("b", function="other"))
    assert only(fx.RequeueTask, desk.effects) == only(fx.FinishTask, desk.effects) == []
    assert desk.started == ["b"]
    desk.end("b")
    desk.pass_time(1e5)
    assert desk.started == ["b"]
    assert desk.blocked_by("a") == "unknown_function"
    assert desk.scheduler.live["a"].told is Status.QUEUED
    assert desk.scheduler.queued == 1
    finish = one(fx.FinishTask, desk.cancel("a"))
    assert finish.status is Status.CANCELLED
    assert desk.scheduler.live == {}
    assert desk.scheduler.queued == 0


@rounds(50)
@given(
    st.lists(st.tuples(st.sampled_from(list(Priority)), st.integers(0, 300)), max_size=30),
    st.integers(1, 7),
)
def test_whatever_the_chunks_the_order_is_that_of_one_long_run(
    tasks: list[tuple[Priority, int]], chunk: int
) -> None:
    def started(scheduler: Scheduler) -> list[str]:
        queue = scheduler.pools.default.queue
        return [queue.pop().task.task_id for _ in range(queue.length)]

    before, after = (Scheduler(make_policy(max_workers=1), Random(1)) for _ in range(2))
    records, now = [], 1000.0
    for number, (priority, later) in enumerate(tasks):
        now += later
        task = make_task(f"{number}", priority=priority, queued_at=now + WALL)
        before.step(ev.Submitted(task), now)
        before.step(ev.Saved(fx.AddTask(task, 0.0, None)), now)
        records.append(Record(task=task, number=number + 1))
    for first in range(0, len(records), chunk):
        part = tuple(records[first : first + chunk])
        after.step(ev.Recovered(part, now + WALL, more=True), 7.0)
    after.step(ev.Recovered((), now + WALL, more=False), 7.0)
    assert started(after) == started(before)
