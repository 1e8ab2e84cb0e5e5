"""What comes back for a task: its result, or what went wrong."""

import json

import pytest

from tests.executor.conftest import Start
from tests.executor.harness import SAMPLES, Child
from vera_worker import wire
from vera_worker.tasks import Cause


def test_the_result_comes_back_as_json(child: Child) -> None:
    answer = child.run("echo", 1, "zwei", key=[3.5, None])
    assert isinstance(answer, wire.Returned)
    assert (answer.task_id, answer.attempt) == ("task-1", 1)
    assert json.loads(answer.result) == {"args": [1, "zwei"], "kwargs": {"key": [3.5, None]}}
    assert answer.unfit is None


def test_one_executor_runs_one_task_after_another(child: Child) -> None:
    assert [child.call("echo", count)["args"] for count in range(20)] == [[n] for n in range(20)]


def test_a_task_knows_who_it_is(child: Child) -> None:
    seen = child.call("whoami")
    assert (seen["id"], seen["attempt"]) == ("task-1", 1)
    assert 0 < seen["left"] <= 300


def test_an_exception_comes_back_with_type_message_and_traceback(child: Child) -> None:
    failed = child.failure("raise_from_below", "nothing here")
    assert failed.cause == Cause.EXCEPTION
    assert (failed.exception, failed.message) == ("LookupError", "nothing here")
    lines = failed.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(", in raise_from_below")
    assert lines[-1] == "LookupError: nothing here"
    assert child.call("noop") is None


@pytest.mark.parametrize("function", ["raise_from_another", "raise_in_coroutine"])
def test_a_traceback_begins_with_the_tasks_own_frame(child: Child, function: str) -> None:
    traceback = child.failure(function, "why").traceback
    files = {line.split('"')[1] for line in traceback.splitlines() if line.startswith("  File ")}
    assert {file.rpartition("/")[2] for file in files} == {"sample_tasks.py"}
    assert "LookupError: why" in traceback


def test_arguments_that_do_not_fit_are_the_tasks_failure(child: Child) -> None:
    failed = child.failure("noop", 1)
    assert failed.exception == "TypeError"
    assert failed.message == "noop() takes 0 positional arguments but 1 was given"
    assert failed.traceback == f"TypeError: {failed.message}\n"


@pytest.mark.parametrize("where", ["here", "in a child"])
def test_a_failure_comes_back_with_its_cost(child: Child, where: str) -> None:
    assert child.call("compute", where) is None  # what another task used does not count
    failed = child.failure("compute", where, fail=True)
    assert 0.3 < failed.duration_s < 60
    assert failed.used is not None
    assert 0.3 <= failed.used.cpu_seconds <= failed.duration_s + 0.1
    cheap = child.failure("compute", where, seconds=0.0, fail=True)
    assert cheap.used is not None
    assert cheap.used.cpu_seconds < 0.3


def test_a_result_comes_with_its_cost_where_that_can_be_much(child: Child) -> None:
    child.assign("noop")
    quick = child.answer()
    assert isinstance(quick, wire.Returned)
    assert quick.used is None
    child.assign("compute", "here")
    lasting = child.answer()
    assert isinstance(lasting, wire.Returned)
    assert lasting.used is not None
    assert 0.3 <= lasting.used.cpu_seconds < 60


def test_the_peak_of_memory_is_that_of_one_attempt(child: Child) -> None:
    def peak_mib(megabytes: int, children: int = 0) -> float:
        child.assign("balloon", megabytes, children, 0.03)
        answer = child.answer()
        assert isinstance(answer, wire.Returned)
        assert answer.used is not None
        return answer.used.peak_bytes / 2**20

    before = peak_mib(1)
    assert 90 < peak_mib(100) - before < 130
    assert abs(peak_mib(1) - before) < 30, "what another task had does not count"
    assert 70 < peak_mib(40, children=2) - before < 150, "its own and its largest child's"


def test_an_unknown_function_is_refused(child: Child) -> None:
    failed = child.failure("no_such_function")
    assert failed.exception == "UnknownFunction"
    assert "'no_such_function' is not registered" in failed.message


def test_sys_exit_ends_the_task_and_not_the_executor(child: Child) -> None:
    failed = child.failure("sys_exit", 5)
    assert (failed.cause, failed.exception, failed.message) == (Cause.EXCEPTION, "SystemExit", "5")
    assert child.call("noop") is None


@pytest.mark.parametrize(("deadly", "exception"), [(False, "_Mute"), (True, "_Deadly")])
def test_an_exception_without_a_message_is_told_by_its_type(
    child: Child, deadly: bool, exception: str
) -> None:
    failed = child.failure("raise_bad_str", deadly=deadly)
    assert failed.exception == exception
    assert failed.message.startswith("(its message cannot be shown: ")
    assert child.call("noop") is None


def test_a_recursion_is_told_in_bounded_words(child: Child) -> None:
    failed = child.failure("recursion")
    assert failed.exception == "RecursionError"
    assert len(failed.traceback) < 20_000


def test_a_long_message_is_cut_in_its_middle(child: Child) -> None:
    failed = child.failure("fail", "a" * 50_000 + "b" * 50_000)
    assert len(failed.message) < 20_000
    assert failed.message.startswith("aaa")
    assert failed.message.endswith("bbb")
    assert "[… 83616 characters left out …]" in failed.message


@pytest.mark.parametrize("text", ["\x00", "\U0001f600", "\n", ""])
def test_a_message_of_any_characters_arrives(child: Child, text: str) -> None:
    assert child.failure("fail", text).message == text


def test_a_message_that_is_no_unicode_arrives_in_escapes(child: Child) -> None:
    failed = child.failure("fail_with_bytes", [0x41, 0xFF])
    assert failed.message == "A\\udcff"
    assert failed.traceback.endswith("OSError: A\\udcff\n")


def test_arguments_that_are_no_unicode_are_the_tasks_failure(child: Child) -> None:
    failed = child.failure("echo", "\udcff")
    assert (failed.cause, failed.exception) == (Cause.EXCEPTION, "DecodeError")
    assert child.call("noop") is None


def test_a_result_that_is_no_json_is_refused_by_its_type(child: Child) -> None:
    failed = child.failure("unserialisable")
    assert (failed.cause, failed.exception) == (Cause.UNSERIALISABLE_RESULT, "TypeError")
    assert failed.message.startswith("the result, of type object, cannot be sent as JSON: ")
    assert failed.traceback == ""
    assert child.call("noop") is None


def test_a_result_that_is_too_large_is_refused_with_its_size(start: Start) -> None:
    child = start(*SAMPLES, max_result_bytes=1000)
    child.ready()
    assert child.call("return_text", 998) == "x" * 998
    failed = child.failure("return_text", 999)
    assert (failed.cause, failed.exception) == (Cause.UNSERIALISABLE_RESULT, "ResultTooLarge")
    assert "has 1001 bytes as JSON, more than limits.max_result (1000)" in failed.message
    assert child.call("noop") is None


def test_a_huge_result_costs_nothing_but_the_task(child: Child) -> None:
    assert child.failure("huge_result", 16).exception == "ResultTooLarge"
    assert child.call("noop") is None


def test_numbers_that_json_does_not_have_become_null(child: Child) -> None:
    assert child.call("nan_result") == [None, None]


def test_a_coroutine_is_run_to_its_end(child: Child) -> None:
    assert child.call("async_echo", {"a": [1]}) == {"a": [1]}
    assert child.call("async_sleep", 0) == 0
    assert child.call("async_echo", 2) == 2


def test_an_argument_as_large_as_allowed_arrives(child: Child) -> None:
    text = "x" * (1024 * 1024 - 100)
    assert child.failure("fail", text).message.startswith("xxx")
