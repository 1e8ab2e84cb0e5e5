"""When one executor more is started: once a task has waited for one, not for each that comes."""

from typing import Any

from tests.scheduling.desk import Desk, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.admission import Ceilings, Load

DELAY_S = 0.05
FULL = Load(cpu_percent=99.0, own_cpu_percent=0.0, memory_percent=10.0)
ROOM = Load(cpu_percent=5.0, own_cpu_percent=5.0, memory_percent=10.0)


def desk_with_one(**policy: Any) -> Desk:
    """Return a desk with one idle executor, which may become four."""
    desk = Desk(**{"min_workers": 1, "max_workers": 4, "growth_delay_s": DELAY_S} | policy)
    desk.get_ready()
    desk.effects.clear()
    return desk


def launches(desk: Desk) -> int:
    return len(only(fx.Launch, desk.effects))


def test_a_backlog_is_given_all_it_can_use_once_a_task_has_waited() -> None:
    desk = desk_with_one()
    for name in "abcdefgh":
        desk.submit(name)
    assert launches(desk) == 0
    timed = [(at, effect) for at, effect in desk.pass_time(1.0) if isinstance(effect, fx.Launch)]
    assert [round(at, 6) for at, _ in timed] == [DELAY_S] * 3


def test_tasks_that_never_wait_long_need_no_further_executor() -> None:
    desk = desk_with_one()
    desk.submit("0")
    for number in range(200):  # ten seconds in which there is always one that waits
        desk.submit(f"{number + 1}")
        desk.pass_time(DELAY_S * 0.9)
        desk.end(f"{number}")
    assert launches(desk) == 0


def test_a_lowly_task_that_waits_behind_others_counts_as_well() -> None:
    desk = desk_with_one(aging_step_s=60.0)
    desk.submit("0", priority="high")
    desk.submit("lowly", priority="low")
    for number in range(3):
        desk.submit(f"{number + 1}", priority="high")
        desk.pass_time(DELAY_S * 0.6)
        desk.end(f"{number}")
    assert launches(desk) > 0


def test_the_first_executor_is_started_at_once() -> None:
    desk = desk_with_one(min_workers=0)
    for slot in list(desk.scheduler.slots):
        desk.vanish(slot.slot_id)
    desk.submit("a")
    desk.submit("b")
    assert launches(desk) == 1
    desk.pass_time(DELAY_S)
    assert launches(desk) == 2


def test_nothing_grows_while_the_machine_is_full() -> None:
    desk = desk_with_one(ceilings=Ceilings(max_cpu_percent=90.0))
    desk.tell(ev.LoadSeen(FULL))
    for name in "abcd":
        desk.submit(name)
    desk.pass_time(10.0)
    assert launches(desk) == 0
    for _ in range(2):
        desk.tell(ev.LoadSeen(ROOM))
    assert desk.started == ["a"]
    assert launches(desk) == 0, "one task at first, and there was an executor for that"
    desk.tell(ev.LoadSeen(ROOM))
    assert launches(desk) == 3


def test_whoever_waits_is_looked_at_again_in_time() -> None:
    desk = desk_with_one()
    desk.submit("a")
    desk.submit("b")
    desk.pass_time(DELAY_S * 0.5)
    desk.cancel("b")
    desk.submit("c")
    timed = [at for at, effect in desk.pass_time(1.0) if isinstance(effect, fx.Launch)]
    assert [round(at, 6) for at in timed] == [DELAY_S]


def test_a_grown_executor_is_let_go_when_it_is_idle_and_never_with_a_task() -> None:
    desk = desk_with_one(max_workers=1, check_interval_s=10.0)
    desk.submit("a")
    assert only(fx.Retire, desk.tell(ev.ExecutorAnswered(1, "it has grown"))) == []
    desk.end("a")
    (check,) = only(fx.Check, [effect for _, effect in desk.pass_time(10.0)])
    effects = desk.tell(ev.ExecutorAnswered(check.slot_id, "it has grown"))
    assert effects == [fx.Retire(check.slot_id)]
    desk.submit("b")
    assert desk.started == ["a"]
    desk.vanish(check.slot_id)
    desk.get_ready()
    assert desk.started == ["a", "b"]
