"""The gate closes when the machine is full, opens slowly, and slows a flood down (L5, L6)."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import make_policy
from tests.scheduling.desk import Desk, desk_with, only
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.admission import (
    LOOKS_OF_STANDSTILL,
    LOOKS_TO_FORGET,
    LOOKS_TO_REOPEN,
    MAX_MEMORY_PRESSURE,
    Admission,
    Ceilings,
    Load,
)
from vera_supervisor.scheduling.waiting import Blocked

CEILINGS = Ceilings(max_cpu_percent=90, max_memory_percent=85)


def load(cpu: float = 10, own: float = 0, memory: float = 30, pressure: float = 0) -> Load:
    return Load(
        cpu_percent=cpu,
        own_cpu_percent=own,
        memory_percent=memory,
        memory_pressure_percent=pressure,
    )


def admit(admission: Admission, most: int = 1000) -> int:
    """Start as many tasks as may start, up to `most`; return how many."""
    started = 0
    while admission.open and started < most:
        admission.started()
        started += 1
    return started


@pytest.fixture
def admission() -> Admission:
    return Admission(CEILINGS)


def test_everything_starts_while_all_is_under_its_limit(admission: Admission) -> None:
    for cpu in (0, 50, 90):
        admission.look(load(cpu, memory=85))
        assert admit(admission) == 1000
        assert admission.reason is None


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (load(cpu=91), Blocked.CPU),
        (load(memory=86), Blocked.MEMORY),
        (load(pressure=MAX_MEMORY_PRESSURE + 1), Blocked.MEMORY),
    ],
)
def test_nothing_starts_after_one_look_at_a_full_machine(
    admission: Admission, seen: Load, reason: Blocked
) -> None:
    admission.look(seen)
    assert admit(admission) == 0
    assert admission.blocked is admission.reason is reason


@pytest.mark.parametrize("full", [load(cpu=100), load(memory=90)])
def test_it_opens_with_one_task_after_the_hold_then_ever_faster(
    admission: Admission, full: Load
) -> None:
    admission.look(full)
    for _ in range(LOOKS_TO_REOPEN - 1):
        admission.look(load())
        assert admit(admission) == 0
    starts = []
    for _ in range(5):
        admission.look(load())
        starts.append(admit(admission))
    assert starts == [1, 1, 2, 4, 8]


def test_a_bad_look_starts_the_hold_anew(admission: Admission) -> None:
    admission.look(load(cpu=100))
    for _ in range(10):
        for _ in range(LOOKS_TO_REOPEN - 1):
            admission.look(load())
        admission.look(load(cpu=100))
        assert admit(admission) == 0


@pytest.mark.parametrize(("limit", "held", "free"), [(85, 81, 80), (12, 11.5, 11)])
def test_memory_must_fall_well_below_its_limit(limit: float, held: float, free: float) -> None:
    admission = Admission(Ceilings(max_memory_percent=limit))
    admission.look(load(memory=limit + 1))
    for _ in range(10):
        admission.look(load(memory=held))
        assert admit(admission) == 0
    for _ in range(LOOKS_TO_REOPEN):
        admission.look(load(memory=free))
    assert admit(admission) == 1


def test_the_gate_is_forgotten_when_it_was_not_needed_for_a_while(admission: Admission) -> None:
    admission.look(load(cpu=100))
    for _ in range(LOOKS_TO_REOPEN + LOOKS_TO_FORGET - 1):
        admission.look(load())
    assert admission.reason is Blocked.CPU
    admission.look(load())
    assert admission.reason is None
    assert admit(admission) == 1000


@pytest.mark.parametrize("full", [load(cpu=100), load(memory=90)])
def test_it_stands_still_when_others_leave_nothing_for_a_while(
    admission: Admission, full: Load
) -> None:
    for _ in range(LOOKS_OF_STANDSTILL - 1):
        admission.look(full)
    admission.look(load())  # a good moment in between is none in which a task could start
    assert not admission.standstill
    admission.look(full)
    assert admission.standstill
    for _ in range(LOOKS_TO_REOPEN - 1):
        admission.look(load())
        assert admission.standstill
    admission.look(load())
    assert admission.open
    assert not admission.standstill


def test_our_own_tasks_are_no_standstill(admission: Admission) -> None:
    admit(admission, 4)
    for _ in range(LOOKS_OF_STANDSTILL * 2):
        admission.look(load(cpu=100, own=95))
        admit(admission)
    assert not admission.open
    assert not admission.standstill


def test_others_who_compete_with_our_answers_to_clients_leave_nothing(
    admission: Admission,
) -> None:
    admission.look(load(cpu=100, own=40))
    assert admit(admission) == 0


def test_clients_that_ask_without_end_do_not_keep_all_tasks_out(admission: Admission) -> None:
    admission.look(load(cpu=100, own=60))
    for _ in range(5):
        assert admit(admission) == 1
        admission.ended()
        admission.look(load(cpu=100, own=60))  # which makes room for a part of one
        assert admit(admission) == 0
        admission.look(load(cpu=100, own=60))


def test_a_flood_that_did_not_use_all_its_room_gets_as_much_again(admission: Admission) -> None:
    for _ in range(1000):
        admission.ended()
    admission.look(load(cpu=100, own=100))
    assert admit(admission, 850) == 850
    for _ in range(850):
        admission.ended()
    admission.look(load(cpu=85, own=85))
    assert admit(admission) >= 850


def test_without_limits_nothing_is_ever_held_back() -> None:
    admission = Admission(Ceilings())
    admission.look(load(cpu=100, memory=100, pressure=100))
    assert admit(admission) == 1000


class Flood:
    """A backlog without end on a machine of two cores: what one look after the other sees.

    Each task takes `cost` seconds of CPU; `others` percent are used by somebody else.
    """

    def __init__(self, cost: float, executors: int = 2, others: float = 0) -> None:
        self.admission = Admission(CEILINGS)
        self.starts: list[int] = []
        self.flips = 0
        self._cost = cost
        self._executors = executors
        self._others = others

    def loads(self, looks: int) -> Iterator[float]:
        running: list[float] = []
        for _ in range(looks):
            free = left = 2 * 0.25 * (1 - self._others / 100)
            started = 0
            while left > 1e-9:
                while len(running) < self._executors and self.admission.open:
                    self.admission.started()
                    started += 1
                    running.append(self._cost)
                if not running:
                    break
                # Cores are shared evenly, and one task uses one core at most.
                piece = min(left / max(2, len(running)), *running)
                running = [rest - piece for rest in running]
                left -= piece * max(2, len(running))
                for _ in range(sum(rest <= 1e-12 for rest in running)):
                    self.admission.ended()
                running = [rest for rest in running if rest > 1e-12]
            own = (free - max(0.0, left)) / 0.5 * 100
            before = self.admission.reason
            self.admission.look(load(min(100.0, own + self._others), own))
            self.flips += before is not self.admission.reason
            self.starts.append(started)
            yield own


@pytest.mark.parametrize(
    ("cost", "least", "most"), [(0.0003, 85, 92), (0.01, 85, 92), (0.1, 70, 96), (1.0, 70, 99)]
)
def test_a_flood_of_our_own_is_slowed_down_to_the_limit(
    cost: float, least: float, most: float
) -> None:
    flood = Flood(cost)
    own = list(flood.loads(240))[20:]
    assert least <= sum(own) / len(own) <= most
    assert flood.flips <= 2


def test_a_flood_beside_others_takes_what_they_leave() -> None:
    flood = Flood(0.001, others=40)
    own = list(flood.loads(240))[20:]
    assert 43 <= sum(own) / len(own) <= 52
    assert flood.flips <= 2


def test_long_tasks_of_our_own_do_not_pile_up_over_the_limit() -> None:
    flood = Flood(60.0, executors=16)
    seen = list(flood.loads(4))
    assert flood.admission.reason is Blocked.CPU
    list(flood.loads(100))
    assert sum(flood.starts[4:]) <= 1, seen


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1), st.floats(0, 100))))
def test_nothing_starts_at_a_look_where_others_fill_the_machine(
    looks: list[tuple[float, float, float]],
) -> None:
    admission = Admission(CEILINGS)
    for cpu, part, memory in looks:
        seen = load(cpu, cpu * part, memory)
        admission.look(seen)
        started = admit(admission, 50)
        for _ in range(started):
            admission.ended()
        if memory > 85 or cpu * (1 - part) > 90:
            assert started == 0
            assert admission.blocked is not None


# In the scheduler


def see(desk: Desk, seen: Load, looks: int = 1) -> None:
    for _ in range(looks):
        desk.tell(ev.LoadSeen(seen))


def test_a_full_machine_accepts_tasks_starts_none_and_says_why() -> None:
    desk = desk_with(2, ceilings=CEILINGS)
    see(desk, load(cpu=100))
    for name in "abc":
        (accept,) = only(fx.Accept, desk.submit(name))
        assert not accept.known
    assert desk.started == []
    assert desk.blocked_by("a") == "cpu"
    see(desk, load(memory=90))
    assert desk.blocked_by("a") == "memory"


def test_the_queue_goes_on_by_itself_with_one_task_first() -> None:
    desk = desk_with(2, ceilings=CEILINGS)
    see(desk, load(cpu=100))
    for name in "abcd":
        desk.submit(name)
    see(desk, load(), LOOKS_TO_REOPEN)
    assert desk.started == ["a"]
    see(desk, load())
    assert desk.started == ["a", "b"]
    assert desk.blocked_by("c") == "cpu"  # by the gate, although no executor is free either
    see(desk, load())
    assert desk.blocked_by("c") == "executors"


def test_tasks_that_wait_for_something_else_say_so() -> None:
    desk = desk_with(2, ceilings=CEILINGS, max_concurrency={"slow": 0})
    see(desk, load(cpu=100))
    desk.submit("later", delay_s=60)
    desk.submit("after", depends_on=("later",))
    assert desk.blocked_by("later") == "delay"
    assert desk.blocked_by("after") == "dependencies"
    desk.tell(ev.DrainAsked())
    assert desk.blocked_by("later") == "draining"


def test_no_executor_is_started_for_a_task_that_may_not_start() -> None:
    desk = Desk(min_workers=0, max_workers=2, ceilings=CEILINGS)
    see(desk, load(cpu=100))
    assert only(fx.Launch, desk.submit("a")) == []
    see(desk, load(), LOOKS_TO_REOPEN - 1)
    assert only(fx.Launch, desk.tell(ev.LoadSeen(load()))) != []


def test_tasks_of_our_own_that_end_make_room_for_a_part_of_their_number() -> None:
    desk = desk_with(4, ceilings=CEILINGS)
    for name in "abcdefgh":
        desk.submit(name)
    see(desk, load(cpu=100, own=100))
    desk.end("a")  # one may start before it is known what the last ones cost
    assert desk.started == ["a", "b", "c", "d", "e"]
    for name in "bcd":
        desk.end(name)
    assert desk.started == ["a", "b", "c", "d", "e"]
    see(desk, load(cpu=100, own=100))  # four have ended, and nine tenths of them may follow
    assert desk.started == ["a", "b", "c", "d", "e", "f", "g", "h"]


def test_a_task_that_runs_is_left_alone() -> None:
    desk = desk_with(2, ceilings=CEILINGS)
    desk.submit("a")
    see(desk, load(cpu=100), 10)
    assert only(fx.Kill, desk.effects) == []
    desk.end("a")
    assert "a" not in desk.scheduler.live


def test_new_ceilings_count_from_the_next_look() -> None:
    desk = desk_with(2, ceilings=CEILINGS)
    desk.scheduler.obey(make_policy(ceilings=Ceilings(max_cpu_percent=50)))
    see(desk, load(cpu=60))
    desk.submit("a")
    assert desk.blocked_by("a") == "cpu"
