"""What functions are known to use is reserved for tasks that say nothing of it (L4)."""

from tests.scheduling.desk import Desk, desk_with
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.habits import Habit, Habits
from vera_supervisor.scheduling.reservations import Capacity
from vera_worker.tasks import Requirements, Used

MIB = 2**20
#: Four executors: a quarter of an equal share is 64 MiB.
CAPACITY = Capacity(cpu_cores=2.0, memory_mb=1024.0)
LITTLE, MUCH = Used(0.1, 60 * MIB), Used(0.1, 700 * MIB)


def habits_with(*attempts: tuple[Used, float]) -> Habits:
    habits = Habits()
    habits.offer(CAPACITY, executors=4)
    for used, duration_s in attempts:
        habits.note("work", used, duration_s)
    return habits


def desk_of(**policy: object) -> Desk:
    desk = desk_with(4, **policy)
    desk.tell(ev.CapacitySeen(CAPACITY))
    return desk


def test_little_and_unknown_is_not_reserved() -> None:
    assert habits_with().guess("work") is None
    assert habits_with((LITTLE, 1.0)).guess("work") is None


def test_much_memory_is_reserved_whatever_the_length() -> None:
    assert habits_with((MUCH, 0.1)).guess("work") == Requirements(memory_mb=700.0)


def test_cores_are_reserved_for_long_attempts_only() -> None:
    busy = Used(1.5, MIB)
    assert habits_with((busy, 1.0)).guess("work") == Requirements(cpu_cores=1.5)
    assert habits_with((Used(0.9, MIB), 0.9)).guess("work") is None
    assert habits_with((Used(0.4, MIB), 1.0)).guess("work") is None


def test_no_more_is_guessed_than_there_is() -> None:
    habits = habits_with((Used(12.0, 9000 * MIB), 2.0))
    assert habits.guess("work") == Requirements(cpu_cores=2.0, memory_mb=1024.0)
    habits.offer(Capacity(cpu_cores=1.0, memory_mb=100.0), executors=4)
    assert habits.guess("work") == Requirements(cpu_cores=1.0, memory_mb=100.0)


def test_a_peak_is_believed_at_once_and_forgotten_slowly() -> None:
    habits = habits_with((LITTLE, 0.1), (MUCH, 0.1), (LITTLE, 0.1))
    habit = habits.get("work")
    assert habit is not None
    assert (habit.attempts, round(habit.peak_memory_mb)) == (3, 668)
    for _ in range(200):
        habits.note("work", LITTLE, 0.1)
    assert habits.guess("work") is None


def test_a_mean_follows_what_attempts_do_now() -> None:
    habits = habits_with(*[(Used(1.0, MIB), 1.0)] * 5, *[(Used(0.0, MIB), 9.0)] * 20)
    habit = habits.get("work")
    assert habit is not None
    assert habit.cpu_cores < 0.05
    assert 8.5 < habit.duration_s < 9.0


def test_what_was_kept_is_taken_up_where_nothing_newer_is_known() -> None:
    kept = habits_with((MUCH, 0.1)).kept() | {"gone": Habit(1, 1.0, 1.0, 1.0)}
    newer = Habit(2, 3.0, 0.0, 1.0)
    habits = habits_with()
    habits.restore(kept)
    assert habits.guess("work") == Requirements(memory_mb=700.0)
    assert habits.kept() == kept  # a function that is gone may come back by a reload
    habits.restore({"work": newer})
    assert habits.get("work") == kept["work"]


def test_two_that_are_known_to_need_much_do_not_run_at_once() -> None:
    desk = desk_of()
    desk.submit("first", function="large")
    desk.end("first", used=MUCH)
    for task_id in ("a", "b"):
        desk.submit(task_id, function="large")
    desk.submit("small", function="small")
    assert desk.started == ["first", "a", "small"]
    assert desk.blocked_by("b") == "reservation"
    desk.end("a", used=MUCH)
    assert desk.started[-1] == "b"


def test_a_task_that_says_what_it_needs_is_believed() -> None:
    desk = desk_of()
    desk.submit("first", function="large")
    desk.end("first", used=MUCH)
    need = Requirements(memory_mb=500)
    for task_id in ("a", "b", "c"):
        desk.submit(task_id, function="large", requirements=need)
    assert desk.started == ["first", "a", "b"]


def test_a_guess_holds_nobody_up_when_there_is_less_than_that() -> None:
    desk = desk_of()
    desk.submit("first", function="large")
    desk.end("first", used=MUCH)
    desk.submit("a", function="large")
    desk.submit("b", function="large")
    desk.tell(ev.CapacitySeen(Capacity(cpu_cores=2.0, memory_mb=300.0)))
    desk.end("a", used=MUCH)
    assert desk.started == ["first", "a", "b"]
