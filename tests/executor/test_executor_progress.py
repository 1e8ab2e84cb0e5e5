"""What a running task says, and what it is told."""

from tests.executor.harness import Child
from vera_worker import wire
from vera_worker.context import PROGRESS_INTERVAL_S


def test_progress_said_often_is_sent_seldom_and_its_last_word_always(child: Child) -> None:
    took_s = child.call("report", 20_000)
    assert 2 <= len(child.reports) <= took_s / PROGRESS_INTERVAL_S + 2
    assert child.reports[0] == wire.Reported("task-1", 1, 0.0, "0")
    assert child.reports[-1] == wire.Reported("task-1", 1, 1.0, "done")


def test_progress_that_is_no_proper_text_costs_nothing(child: Child) -> None:
    assert child.call("report_wrong_text") == "done"
    assert [report.message for report in child.reports] == ["first", "?"]
    assert child.call("noop") is None


def test_a_task_that_looks_is_told_to_stop(child: Child) -> None:
    child.assign("wait_for_stop")
    child.await_line()
    child.send(wire.Stop())
    answer = child.answer()
    assert isinstance(answer, wire.Returned)
    assert answer.result == b'"stopped"'


def test_a_stop_that_comes_too_late_is_not_meant_for_the_next_task(child: Child) -> None:
    assert child.call("is_stop_requested") is False
    child.send(wire.Stop())
    assert child.call("is_stop_requested") is False
    child.assign("wait_for_stop")
    child.await_line()
    child.send(wire.Stop(), wire.Stop())  # only one of them is read by the task
    assert child.answer() is not None
    assert child.call("is_stop_requested") is False


def test_a_stop_and_the_next_task_in_one_piece(child: Child) -> None:
    call = b'{"function": "is_stop_requested"}'
    child.send(wire.Stop(), wire.Assign("a", 1, "is_stop_requested", call, 10.0))
    answer = child.answer()
    assert isinstance(answer, wire.Returned)
    assert answer.result == b"false"


def test_what_arrives_with_a_stop_is_answered_after_the_task(child: Child) -> None:
    child.assign("wait_for_stop")
    child.await_line()
    child.send(wire.Ping(), wire.Stop())
    assert isinstance(child.receive(), wire.Returned)
    assert child.receive() == wire.Pong()


def test_the_demo_sleep_ends_early_when_it_is_told_to(child: Child) -> None:
    child.assign("sleep", 600)
    assert isinstance(child.receive(), wire.Reported)
    child.send(wire.Stop())
    answer = child.answer()
    assert isinstance(answer, wire.Returned)
    assert b'"stopped":true' in answer.result


def test_a_forked_child_leaves_the_link_to_its_parent(child: Child) -> None:
    assert child.call("report_from_a_fork") == 7
    assert child.reports == []
    assert child.call("noop") is None


def test_a_forked_child_that_returns_from_the_task_is_no_second_executor(child: Child) -> None:
    assert child.call("fork_and_return") == child.pid
    child.send(wire.Ping())
    assert child.receive() == wire.Pong()


def test_a_thread_that_outlives_its_task_does_not_read_the_next_one(child: Child) -> None:
    child.call("leave_a_poller")
    assert child.call("join_poller") is True
