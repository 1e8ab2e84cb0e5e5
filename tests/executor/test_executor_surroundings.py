"""What one task does to its process is undone before the next one runs, or the process goes."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.executor.conftest import Start
from tests.executor.harness import SAMPLES, Child
from vera_worker import wire


def _unfit(child: Child, function: str, *args: Any) -> str | None:
    answer = child.run(function, *args)
    assert isinstance(answer, wire.Returned), answer
    return answer.unfit


def test_directory_umask_signal_mask_and_stdout_are_put_back(child: Child) -> None:
    before = child.call("surroundings")
    assert _unfit(child, "change_surroundings") is None
    assert child.call("surroundings") == before


def test_they_are_put_back_after_a_failure_too(child: Child) -> None:
    before = child.call("surroundings")
    assert child.failure("change_surroundings_and_fail").unfit is None
    assert child.call("surroundings") == before


def test_signal_handlers_and_timers_are_put_back(child: Child) -> None:
    """A forgotten alarm would kill the executor in the middle of somebody else's task."""
    before = child.call("surroundings")
    assert _unfit(child, "leave_handlers_and_timers") is None
    assert child.call("surroundings") == before


@pytest.mark.parametrize(
    "how",
    ["replaced", "wrapped", "detached", "closed", "deleted", "none", "alien", "reconfigured"],
)
def test_whatever_a_task_does_to_its_stdout_the_next_one_prints(child: Child, how: str) -> None:
    before = child.call("surroundings")
    assert _unfit(child, "leave_stdout", how) is None
    assert child.printed() == ("wrapped\n" if how == "wrapped" else "")
    assert child.call("surroundings") == before
    child.call("print_text", "\u20ac")
    assert child.printed() == "\u20ac"


def test_stdin_is_empty_and_stays_open(child: Child) -> None:
    assert child.call("surroundings")["stdin"] == ""
    assert _unfit(child, "leave_stdin_closed") is None
    assert child.call("surroundings")["stdin"] == ""


def test_an_executor_whose_output_was_closed_is_unfit(child: Child) -> None:
    assert _unfit(child, "close_stdout") == (
        "the task closed or replaced one of its standard streams"
    )


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (os.devnull, "the task closed or replaced one of its standard streams"),
        ("/proc/self/fd/2", None),  # the same pipe, opened once more
    ],
)
def test_an_executor_whose_output_goes_elsewhere_is_unfit(
    child: Child, path: str, why: str | None
) -> None:
    assert _unfit(child, "put_over_stdout", path) == why


def test_an_executor_whose_directory_is_gone_is_unfit(start: Start, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "moving_tasks.py").write_text(f"import os; os.chdir({str(work)!r})\n")
    child = start("moving_tasks", *SAMPLES, path=tmp_path)
    child.ready()
    assert child.call("surroundings")["cwd"] == str(work)
    assert _unfit(child, "remove_directory") == (
        f"its working directory is gone: [Errno 2] No such file or directory: '{work}'"
    )


def test_a_subprocess_gets_the_standard_streams_and_nothing_else(child: Child) -> None:
    """With the link in it, it could speak for the executor, and outlive it."""
    stdin, stdout, stderr = child.call("subprocess_descriptors")
    assert stdin == os.devnull
    assert stdout == stderr
    assert stdout.startswith("pipe:")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_in_one_task_after_another(child: Child, method: str) -> None:
    """Its helpers die with the task that started them; the next one gets new ones."""
    assert child.call("multiprocess", method) == 49
    assert child.call("multiprocess", method) == 49


def test_what_a_failed_task_held_is_freed_at_once(child: Child) -> None:
    """The traceback of its exception holds all its variables."""
    child.failure("fail_with_a_burden")
    assert child.call("is_burden_gone") is True
