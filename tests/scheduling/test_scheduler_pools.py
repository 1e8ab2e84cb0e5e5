"""Pools: each has executors of its own, and holds back its own tasks and no others."""

from typing import Any

import msgspec

from tests.fakes.makers import GPUS, INFER, TRAIN, gpu_pool, make_policy
from tests.scheduling.desk import Desk, one, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.admission import Ceilings, Load
from vera_supervisor.scheduling.reservations import Capacity
from vera_worker.tasks import DEFAULT_POOL, Priority, Requirements

FULL = Load(cpu_percent=99.0, own_cpu_percent=0.0, memory_percent=10.0)
ROOM = Load(cpu_percent=5.0, own_cpu_percent=5.0, memory_percent=10.0)


def desk_with_pools(*, gpus: int = 1, **policy: Any) -> Desk:
    """Return a desk with one idle executor, and `gpus` that are idle in a pool of their own."""
    desk = Desk(
        **{"min_workers": 1, "max_workers": 1} | policy,
        **gpu_pool(min_workers=gpus, max_workers=gpus),
    )
    desk.get_ready()
    desk.effects.clear()
    return desk


def pool_of(desk: Desk, task_id: str) -> str:
    return desk.slot_of(task_id).pool


def test_each_pool_starts_its_own_minimum_with_seats_of_its_own() -> None:
    desk = Desk(min_workers=1, max_workers=1, **gpu_pool(min_workers=2, max_workers=2))
    launches = only(fx.Launch, desk.tell(ev.TimePassed()))
    assert [(launch.pool, launch.seat) for launch in launches] == [
        (DEFAULT_POOL, 0),
        (GPUS, 0),
        (GPUS, 1),
    ]
    assert len({launch.slot_id for launch in launches}) == 3


def test_a_seat_is_given_again_when_its_executor_is_gone() -> None:
    desk = desk_with_pools(gpus=2)
    gone = next(slot for slot in desk.scheduler.slots if (slot.pool, slot.seat) == (GPUS, 0))
    launch = one(fx.Launch, desk.vanish(gone.slot_id))
    assert (launch.pool, launch.seat) == (GPUS, 0)


def test_a_task_runs_in_the_pool_of_its_function() -> None:
    desk = desk_with_pools()
    desk.submit("plain")
    desk.submit("gpu", function=INFER)
    assert (pool_of(desk, "plain"), pool_of(desk, "gpu")) == (DEFAULT_POOL, GPUS)


def test_whoever_waits_for_a_full_pool_is_no_hindrance_to_another() -> None:
    desk = desk_with_pools()
    desk.submit("gpu", function=INFER)
    desk.submit("urgent", function=INFER, priority=Priority.CRITICAL)
    desk.submit("plain", priority=Priority.LOW)
    assert desk.started == ["gpu", "plain"]
    assert desk.blocked_by("urgent") == "executors"
    desk.submit("next")
    desk.end("plain")
    assert desk.started == ["gpu", "plain", "next"]
    desk.end("gpu")
    assert desk.started[-1] == "urgent"


def test_neither_is_one_that_waits_in_the_default_pool() -> None:
    desk = desk_with_pools()
    desk.submit("plain")
    desk.submit("urgent", priority=Priority.CRITICAL)
    desk.submit("gpu", function=INFER, priority=Priority.LOW)
    assert desk.started == ["plain", "gpu"]


def test_order_and_positions_are_those_of_the_pool() -> None:
    desk = desk_with_pools()
    desk.submit("gpu", function=INFER)
    desk.submit("plain")
    for name, function, priority in (
        ("g1", INFER, Priority.NORMAL),
        ("p1", "work", Priority.LOW),
        ("g2", INFER, Priority.CRITICAL),
        ("p2", "work", Priority.LOW),
    ):
        desk.submit(name, function=function, priority=priority)
    live = desk.scheduler.live
    positions = {name: desk.scheduler.position(live[name]) for name in ("g1", "g2", "p1", "p2")}
    assert positions == {"g1": 2, "g2": 1, "p1": 1, "p2": 2}
    for name in ("gpu", "g2"):
        desk.end(name)
    assert desk.started == ["gpu", "plain", "g2", "g1"]


def test_where_only_one_may_start_it_is_the_first_of_all_pools() -> None:
    for first, second in (("work", INFER), (INFER, "work")):
        desk = desk_with_pools(ceilings=Ceilings(max_cpu_percent=90.0))
        desk.tell(ev.LoadSeen(FULL))
        desk.submit("later", function=second, priority=Priority.LOW)
        desk.submit("urgent", function=first, priority=Priority.CRITICAL)
        desk.tell(ev.LoadSeen(ROOM))
        desk.tell(ev.LoadSeen(ROOM))
        assert desk.started == ["urgent"]


def test_what_is_reserved_counts_for_all_pools_together() -> None:
    desk = desk_with_pools()
    desk.tell(ev.CapacitySeen(Capacity(cpu_cores=4.0, memory_mb=1000.0)))
    most = Requirements(memory_mb=700.0)
    desk.submit("plain", requirements=most)
    desk.submit("gpu", function=INFER, requirements=most)
    assert desk.started == ["plain"]
    assert desk.blocked_by("gpu") == "reservation"
    desk.end("plain")
    assert desk.started == ["plain", "gpu"]


def test_a_function_that_runs_alone_gets_an_unused_executor_of_its_pool() -> None:
    desk = desk_with_pools()
    desk.submit("first", function=INFER)
    desk.end("first")
    retire = one(fx.Retire, desk.submit("alone", function=TRAIN))
    assert desk.started == ["first"]
    assert one(fx.Launch, desk.vanish(retire.slot_id)).pool == GPUS
    desk.get_ready()
    assert desk.started == ["first", "alone"]


def test_executors_that_cannot_start_in_one_pool_slow_down_that_pool_alone() -> None:
    desk = desk_with_pools()
    starting = one(
        fx.Launch, desk.vanish(next(s for s in desk.scheduler.slots if s.pool == GPUS).slot_id)
    )
    assert only(fx.Launch, desk.vanish(starting.slot_id)) == []
    plain = next(slot for slot in desk.scheduler.slots if slot.pool == DEFAULT_POOL)
    assert one(fx.Launch, desk.vanish(plain.slot_id)).pool == DEFAULT_POOL
    late = [effect for _, effect in desk.pass_time(1.0)]
    assert one(fx.Launch, late).pool == GPUS


def test_a_drain_and_an_interruption_are_for_all_pools() -> None:
    desk = desk_with_pools()
    desk.submit("plain")
    desk.submit("gpu", function=INFER)
    effects = desk.tell(ev.InterruptAsked())
    assert len(only(fx.DumpStack, effects)) == 2
    for name in ("plain", "gpu"):
        desk.lose(name)
    assert desk.tell(ev.ResumeAsked())
    desk.get_ready()
    assert desk.started == ["plain", "gpu", "plain", "gpu"]
    assert (pool_of(desk, "plain"), pool_of(desk, "gpu")) == (DEFAULT_POOL, GPUS)


def test_a_pool_whose_queue_is_full_leaves_room_for_the_others() -> None:
    desk = Desk(queue_size=4, **gpu_pool(max_workers=1, queue_size=2))
    for name in "abc":
        refusals = only(fx.Refuse, desk.submit(name, function=INFER, delay_s=5.0))
    assert [(r.task_id, r.refusal, r.pool) for r in refusals] == [
        ("c", fx.Refusal.QUEUE_FULL, GPUS)
    ]
    assert refusals[0].detail == "the queue of the pool gpus is full (2 tasks)"
    assert only(fx.Accept, desk.submit("plain")) + only(fx.Accept, desk.submit("other"))
    full = one(fx.Refuse, desk.submit("d"))
    assert (full.detail, full.pool) == ("the queue is full (4 tasks)", None)
    desk.cancel("a")
    assert only(fx.Accept, desk.submit("c", function=INFER))


def test_a_task_counts_for_the_pool_that_its_function_goes_to() -> None:
    policy = gpu_pool(max_workers=1, queue_size=2)
    desk = Desk(**policy)
    desk.submit("a", function=INFER, delay_s=5.0)
    desk.submit("b", delay_s=5.0)
    for routes, gpus in (({}, 0), ({"work": GPUS, INFER: GPUS}, 2)):
        desk.scheduler.obey(make_policy(**policy | {"routes": routes}))
        desk.tell(ev.CodeReplaced())
        assert desk.scheduler.pools.by_name[GPUS].queued == gpus
        assert desk.scheduler.pools.default.queued == 2 - gpus
    assert one(fx.Refuse, desk.submit("c", function=INFER)).pool == GPUS


def test_the_outlook_is_that_of_the_pool() -> None:
    desk = desk_with_pools()
    desk.submit("plain")
    new = ev.Submitted(desk.scheduler.live["plain"].task)
    for function, blocked in (("work", "executors"), (INFER, None)):
        task = msgspec.structs.replace(new.task, task_id="new", function=function, digest=b"")
        outlook = desk.scheduler.outlook(ev.Submitted(task), desk.now)
        assert outlook == (1, blocked)
