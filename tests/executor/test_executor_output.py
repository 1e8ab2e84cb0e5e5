"""What a task prints arrives, whoever printed it and however the task ended."""

import signal
from pathlib import Path

import pytest

from tests.executor.conftest import Start
from tests.executor.harness import Child
from vera_worker import process_tree


def test_output_of_python_of_c_and_of_a_subprocess_is_all_there(child: Child) -> None:
    child.call("print_everywhere", "hello")
    assert sorted(child.printed().splitlines()) == [
        "hello from C",
        "hello from a subprocess",
        "hello from python",
        "hello from python's stderr",
    ]


def test_output_is_there_before_the_answer_and_belongs_to_one_task(child: Child) -> None:
    for text in ("one", "two", "three"):
        child.call("print_text", text)
        assert child.printed() == text


def test_output_of_a_task_that_failed_is_there(child: Child) -> None:
    child.failure("print_and_fail", "before")
    assert child.printed() == "before"
    child.call("print_text", "after")
    assert child.printed() == "after"


@pytest.mark.parametrize("function", ["print_text", "print_from_c", "print_to_first_stdout"])
def test_a_line_without_an_end_is_there_too(child: Child, function: str) -> None:
    child.call(function, "half a line")
    assert child.printed() == "half a line"


def test_output_of_c_survives_the_death_of_the_process(child: Child) -> None:
    assert child.run("print_from_c", "last words\n", die=True) is None
    assert child.await_exit() == -signal.SIGKILL
    assert child.printed() == "last words\n"


def test_a_module_that_replaced_stdout_takes_no_output_from_the_tasks(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "quiet_tasks.py").write_text("import io, sys\nsys.stdout = io.StringIO()\n")
    child = start("quiet_tasks", "untidy_tasks", path=tmp_path)
    child.ready()
    child.call("print_text", "heard")
    assert child.printed() == "heard"


def test_output_survives_the_death_of_the_process(child: Child) -> None:
    assert child.run("print_then_die", "last words") is None
    assert child.await_exit() == -signal.SIGKILL
    assert child.printed() == "last words\n"


def test_output_survives_a_kill_from_outside(child: Child) -> None:
    child.assign("print_and_hang", "last words")
    assert child.await_line() == "last words\n"
    process_tree.kill_tree(child.pid)
    assert child.await_exit() == -signal.SIGKILL


def test_any_text_can_be_printed(child: Child) -> None:
    child.call("print_bytes", [0xFF, 0x20, 0xC3, 0xA4])
    assert child.printed() == "\\udcff ä"


def test_a_log_handler_made_before_the_executor_writes_to_its_output(child: Child) -> None:
    child.call("log_text", "logged")
    assert child.printed() == "logged\n"


def test_a_flood_waits_for_its_reader_and_loses_nothing(child: Child) -> None:
    child.assign("flood_stdout", 1)
    received = 0
    while received < 1024 * 1024:
        received += len(child.await_line())
    assert child.answer() is not None
    assert received == 1024 * 1024
    assert child.printed() == ""


@pytest.mark.parametrize("function", ["hang_in_c", "hang_holding_gil", "busy_loop"])
def test_the_stack_of_a_hanging_task_is_written_on_demand(child: Child, function: str) -> None:
    child.assign(function)
    stack = child.stack_in(function)
    assert "(most recent call first):" in stack


def test_a_crash_writes_its_stack(child: Child) -> None:
    assert child.run("segfault") is None
    assert child.await_exit() == -signal.SIGSEGV
    stack = child.await_stack(" in segfault\n")
    assert stack.startswith("Fatal Python error: Segmentation fault")
