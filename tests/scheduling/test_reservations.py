"""What tasks say that they need is theirs while they run: never more than there is (L4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import rounds
from tests.scheduling.desk import Desk, desk_with, one
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.reservations import Capacity, Reservations
from vera_worker.tasks import Priority, Requirements

HALF_A_CORE = Requirements(cpu_cores=0.5)
TWO_CORES = Requirements(cpu_cores=2.0)


def desk_of(cores: float = 2.0, memory_mb: float = 1000.0, gpus: int = 1, **policy: object) -> Desk:
    desk = desk_with(8, **policy)
    desk.tell(ev.CapacitySeen(Capacity(cpu_cores=cores, memory_mb=memory_mb, gpus=gpus)))
    return desk


@pytest.mark.parametrize(
    "need",
    [Requirements(cpu_cores=1.0), Requirements(memory_mb=400.0), Requirements(gpus=1, cpu_cores=1)],
)
def test_as_many_run_as_fit(need: Requirements) -> None:
    desk = desk_of(gpus=2)
    for name in "abcd":
        desk.submit(name, requirements=need)
    assert desk.started == ["a", "b"]
    assert desk.blocked_by("c") == "reservation"
    desk.throw("a")
    assert desk.started == ["a", "b", "c"]
    assert desk.blocked_by("d") == "reservation"


def test_a_task_that_says_nothing_goes_past_one_that_does_not_fit() -> None:
    desk = desk_of()
    desk.submit("a", requirements=TWO_CORES)
    desk.submit("b", requirements=TWO_CORES, priority=Priority.CRITICAL)
    desk.submit("c", priority=Priority.LOW)
    assert desk.started == ["a", "c"]


def test_a_small_one_does_not_go_past_a_large_one_that_waits() -> None:
    desk = desk_of()
    desk.submit("a", requirements=HALF_A_CORE)
    desk.submit("large", requirements=TWO_CORES)
    desk.submit("small", requirements=HALF_A_CORE)
    assert desk.started == ["a"]
    assert desk.blocked_by("small") == "reservation"
    desk.end("a")
    desk.end("large")
    assert desk.started == ["a", "large", "small"]


def test_a_more_urgent_one_that_fits_goes_first() -> None:
    desk = desk_of(aging_step_s=0.0)
    desk.submit("a", requirements=HALF_A_CORE)
    desk.submit("large", requirements=TWO_CORES)
    desk.submit("urgent", requirements=HALF_A_CORE, priority=Priority.CRITICAL)
    assert desk.started == ["a", "urgent"]


def test_those_behind_one_that_is_cancelled_are_looked_at() -> None:
    desk = desk_of()
    desk.submit("a", requirements=HALF_A_CORE)
    desk.submit("large", requirements=TWO_CORES)
    desk.submit("small", requirements=HALF_A_CORE)
    desk.cancel("large")
    assert desk.started == ["a", "small"]


def test_what_can_never_fit_is_refused_by_name() -> None:
    desk = desk_of(cores=1.5, memory_mb=1000.4)
    for need, detail in {
        TWO_CORES: "requirements.cpu_cores: 2 asked for, this worker has 1.5",
        Requirements(
            memory_mb=1e4
        ): "requirements.memory_mb: 10000 asked for, this worker has 1000",
        Requirements(gpus=2): "requirements.gpus: 2 asked for, this worker has 1",
    }.items():
        refused = one(fx.Refuse, desk.submit("a", requirements=need))
        assert (refused.refusal, refused.detail) == (fx.Refusal.IMPOSSIBLE, detail)
    assert not desk.scheduler.live


def test_a_worker_that_grows_starts_what_waits() -> None:
    desk = desk_of()
    desk.submit("a", requirements=TWO_CORES)
    desk.submit("b", requirements=TWO_CORES)
    assert desk.started == ["a"]
    desk.tell(ev.CapacitySeen(Capacity(cpu_cores=4.0)))
    assert desk.started == ["a", "b"]


def test_a_worker_that_shrinks_starts_no_more_than_it_has_left() -> None:
    desk = desk_of()
    for name in "ab":
        desk.submit(name, requirements=Requirements(cpu_cores=1.0))
    desk.tell(ev.CapacitySeen(Capacity(cpu_cores=1.0)))
    desk.submit("c", requirements=HALF_A_CORE)
    desk.end("a")
    assert desk.started == ["a", "b"]
    desk.end("b")
    assert desk.started == ["a", "b", "c"]


def test_nobody_waits_for_one_that_became_too_large_for_the_worker() -> None:
    desk = desk_of()
    desk.submit("a", requirements=TWO_CORES)
    desk.submit("large", requirements=TWO_CORES)
    desk.submit("larger", requirements=TWO_CORES)
    desk.tell(ev.CapacitySeen(Capacity(cpu_cores=1.0)))
    desk.submit("small", requirements=HALF_A_CORE)
    desk.end("a")
    assert desk.started == ["a", "small"]
    assert desk.blocked_by("large") == "reservation"
    assert one(fx.FinishTask, desk.cancel("larger")).task_id == "larger"
    desk.tell(ev.CapacitySeen(Capacity(cpu_cores=4.0)))
    assert desk.started == ["a", "small", "large"]


def test_it_waits_for_its_function_as_well() -> None:
    desk = desk_of(max_concurrency={"slow": 1})
    desk.submit("a", function="slow", requirements=TWO_CORES)
    desk.submit("b", function="slow", requirements=TWO_CORES)
    desk.submit("c", function="slow")
    assert desk.blocked_by("b") == desk.blocked_by("c") == "concurrency"
    desk.end("a")
    assert desk.started == ["a", "b"]
    assert desk.blocked_by("c") == "concurrency"


def test_the_memory_that_a_task_asks_for_is_the_most_that_it_gets() -> None:
    desk = desk_of(task_memory=(2**20,), memory={"work": (2**21,)})
    assign = one(fx.Assign, desk.submit("a", requirements=Requirements(memory_mb=1.5)))
    assert assign.memory_bytes == 3 * 2**19
    assert one(fx.Assign, desk.submit("b", requirements=HALF_A_CORE)).memory_bytes == 2**21


@rounds(200)
@given(st.lists(st.floats(0.001, 3.0), max_size=60))
def test_fractions_that_add_up_to_the_whole_fit_and_leave_nothing(parts: list[float]) -> None:
    books = Reservations()
    books.capacity = Capacity(cpu_cores=sum(parts))
    needs = [Requirements(cpu_cores=part) for part in parts]
    for need in needs:
        assert books.fits(need)
        books.take(need)
    assert not books.fits(Requirements(cpu_cores=0.001))
    for need in reversed(needs):
        books.give_back(need)
    assert books.cpu_cores == 0.0
