"""What a task says of itself and asks about itself."""

import threading
from collections.abc import Iterator

import pytest

from vera_worker import context, current_task, progress
from vera_worker.context import PROGRESS_INTERVAL_S, TaskContext
from vera_worker.errors import NoCurrentTask


class World:
    """A clock that stands until it is moved, and an ear for what the task says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.said: list[tuple[float | None, str | None]] = []
        self.asked = 0
        self.stop = False
        monkeypatch.setattr("vera_worker.context.time.monotonic", lambda: self.now)

    def task(self) -> TaskContext:
        return TaskContext(
            "task",
            2,
            10.0,
            send_progress=lambda fraction, message: self.said.append((fraction, message)),
            poll_stop=self._poll,
        )

    def _poll(self) -> bool:
        self.asked += 1
        return self.stop


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def task(world: World) -> Iterator[TaskContext]:
    task = world.task()
    context.enter(task)
    yield task
    context.enter(None)


def test_outside_of_a_task_there_is_no_current_one() -> None:
    with pytest.raises(NoCurrentTask, match="no task is running here"):
        current_task()


def test_progress_outside_of_a_task_does_nothing() -> None:
    progress(0.5, "half")


def test_inside_of_a_task_it_is_the_current_one(task: TaskContext) -> None:
    assert current_task() is task
    assert (current_task().task_id, current_task().attempt) == ("task", 2)


def test_a_thread_of_the_task_belongs_to_it(task: TaskContext) -> None:
    seen: list[TaskContext] = []
    thread = threading.Thread(target=lambda: seen.append(current_task()))
    thread.start()
    thread.join()
    assert seen == [task]


def test_time_left_runs_out_and_below(world: World, task: TaskContext) -> None:
    assert task.time_left() == 10.0
    world.now += 12.0
    assert task.time_left() == -2.0


def test_the_first_word_goes_out_at_once(world: World, task: TaskContext) -> None:
    progress(0.1, "begun")
    assert world.said == [(0.1, "begun")]


def test_words_in_quick_succession_become_the_last_of_them(world: World, task: TaskContext) -> None:
    for count in range(100):
        progress(count / 100)
    assert world.said == [(0.0, None)]
    world.now += PROGRESS_INTERVAL_S
    progress(1.0, "done")
    assert world.said == [(0.0, None), (1.0, "done")]


def test_the_last_word_goes_out_when_the_task_ends(world: World, task: TaskContext) -> None:
    progress(0.1)
    progress(0.9, "almost")
    task.end()
    assert world.said == [(0.1, None), (0.9, "almost")]


def test_nothing_is_said_twice(world: World, task: TaskContext) -> None:
    progress(0.1)
    task.flush_progress()
    task.end()
    assert world.said == [(0.1, None)]


def test_after_its_end_a_task_says_nothing_and_should_stop(world: World, task: TaskContext) -> None:
    task.end()
    asked = world.asked
    world.now += PROGRESS_INTERVAL_S
    task.progress(0.5)
    task.flush_progress()
    assert world.said == []
    assert task.stop_requested
    assert world.asked == asked


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        (-1, 0.0),
        (7, 1.0),
        (True, 1.0),
        (float("nan"), None),
        (float("inf"), 1.0),
        (None, None),
        ("0.5", 0.5),
    ],
)
def test_a_fraction_is_sent_as_one_from_0_to_1(
    world: World, task: TaskContext, said: float, sent: float | None
) -> None:
    progress(said)
    assert world.said == [(sent, None)]


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("said", "sent"),
    [(3, "3"), (_Text("text"), "text"), ("\udcff", "?"), ("x" * 5000, "x" * 1000)],
)
def test_a_message_is_sent_as_plain_short_text(
    world: World, task: TaskContext, said: str, sent: str
) -> None:
    progress(message=said)
    assert world.said == [(None, sent)]
    assert type(world.said[0][1]) is str


def test_a_wrong_fraction_fails_where_it_is_said(task: TaskContext) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        progress("half")  # type: ignore[arg-type]


def test_the_wish_to_stop_is_read_once_and_stays(world: World, task: TaskContext) -> None:
    seen = []
    for world.stop in (False, True, False):
        seen.append(task.stop_requested)
    assert seen == [False, True, True]
    assert world.asked == 2


def test_two_threads_never_speak_at_once(world: World) -> None:
    """A second frame in the middle of a first one would make both unreadable."""
    depth: list[int] = []
    deepest = 0

    def send(fraction: float | None, message: str | None) -> None:
        nonlocal deepest
        depth.append(1)
        deepest = max(deepest, len(depth))
        if message == "outer":
            world.now += PROGRESS_INTERVAL_S
            other = threading.Thread(target=speaker.progress, args=(0.2, "inner"))
            other.start()
            other.join()
        world.said.append((fraction, message))
        depth.pop()

    speaker = TaskContext("task", 1, 10.0, send_progress=send, poll_stop=lambda: False)
    speaker.progress(0.1, "outer")
    assert deepest == 1
    assert world.said == [(0.1, "outer")]
    speaker.end()
    assert world.said == [(0.1, "outer"), (0.2, "inner")]


def test_two_threads_never_listen_at_once() -> None:
    """Bytes read by two would be put together in the wrong order."""
    polls: list[str] = []

    def poll() -> bool:
        polls.append(threading.current_thread().name)
        if len(polls) == 1:
            other = threading.Thread(target=lambda: speaker.stop_requested)
            other.start()
            other.join()
        return False

    speaker = TaskContext(
        "task", 1, 10.0, send_progress=lambda _fraction, _message: None, poll_stop=poll
    )
    assert not speaker.stop_requested
    assert polls == [threading.current_thread().name]


def test_a_forked_process_has_the_task_but_not_its_link(world: World, task: TaskContext) -> None:
    context.after_fork()
    assert current_task() is task
    assert task.time_left() == 10.0
    world.stop = True
    progress(0.5)
    task.flush_progress()
    assert not task.stop_requested
    assert (world.said, world.asked) == ([], 0)


def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have(world: World) -> None:
    """The parent's other thread may have been speaking at the very moment of the fork."""

    def send(_fraction: float | None, _message: str | None) -> None:
        context.after_fork()
        speaker.end()

    speaker = TaskContext("task", 1, 10.0, send_progress=send, poll_stop=lambda: False)
    context.enter(speaker)
    speaker.progress(0.5)
    context.enter(None)


def test_a_fork_outside_of_a_task_is_no_matter() -> None:
    context.after_fork()
