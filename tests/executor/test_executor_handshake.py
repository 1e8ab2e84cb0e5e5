"""How an executor comes to be ready, or says why it is not."""

from pathlib import Path

import pytest

from tests.executor.conftest import Start
from tests.executor.harness import SAMPLES, Child, StandIn, watching
from vera_worker import wire
from vera_worker.handlers import Parameter
from vera_worker.tasks import Priority


def test_ready_names_the_executor_and_all_its_functions(start: Start) -> None:
    child = start(*SAMPLES)
    ready = child.ready()
    assert ready.pid == child.pid
    functions = {info.name: info for info in ready.functions}
    assert functions["noop"].signature == "() -> None"
    assert functions["noop"].doc == "Do nothing."
    assert functions["noop"].module == "vera_executor.demo"
    assert not {"current_task", "progress", "task", "_private", "below"} & set(functions)


def test_ready_tells_signature_parameters_and_limits(start: Start) -> None:
    functions = {info.name: info for info in start(*SAMPLES).ready().functions}
    info = functions["renamed"]
    assert info.signature == "(path: str, *, limit: int = 10) -> int"
    assert info.parameters == (
        Parameter("path", "POSITIONAL_OR_KEYWORD", required=True),
        Parameter("limit", "KEYWORD_ONLY", required=False),
    )
    assert (info.options.timeout, info.options.priority) == (5.0, Priority.HIGH)


def test_the_modules_are_loaded_once_in_the_fork_server(child: Child) -> None:
    imported_by, parent = child.call("imported_by")
    assert imported_by == parent


def test_a_module_that_nobody_preloaded_is_loaded_by_the_executor(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "fresh_tasks.py").write_text("import os\ndef where(): return os.getpid()\n")
    child = start("fresh_tasks", path=tmp_path)
    assert [info.name for info in child.ready().functions] == ["where"]
    assert child.call("where") == child.pid


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit('go away')", "SystemExit: go away"),
        ("def f(: pass", "SyntaxError: "),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def noop(): pass", "its function 'noop' has the name of one in 'vera_executor.demo'"),
        ("raise RuntimeError('\\udcff')", "RuntimeError: \\udcff"),
        (
            "class Mute(Exception):\n def __str__(self): raise SystemExit\nraise Mute",
            "Mute: (its message cannot be shown: SystemExit)",
        ),
        (
            "class Bad:\n def __repr__(self): raise OSError('no words')\ndef f(a=Bad()): pass",
            "f: no words",
        ),
    ],
)
def test_a_module_that_cannot_be_loaded_is_named_with_the_reason(
    start: Start, tmp_path: Path, source: str, reason: str
) -> None:
    (tmp_path / "broken_tasks.py").write_text(source)
    child = start("vera_executor.demo", "broken_tasks", path=tmp_path)
    failed = child.receive()
    assert isinstance(failed, wire.LoadFailed), failed
    assert failed.module == "broken_tasks"
    assert failed.reason.startswith(reason)
    assert child.receive() is None
    assert child.await_exit() == 0


def test_a_failed_load_comes_with_its_traceback(start: Start, tmp_path: Path) -> None:
    (tmp_path / "deep_tasks.py").write_text("def f():\n    return 1 / 0\nf()\n")
    failed = start("deep_tasks", path=tmp_path).receive()
    assert isinstance(failed, wire.LoadFailed)
    assert failed.traceback.startswith("Traceback (most recent call last):\n")
    assert f'File "{tmp_path}/deep_tasks.py", line 2, in f\n' in failed.traceback
    assert "vera_executor" not in failed.traceback
    assert "importlib" not in failed.traceback


def test_what_a_module_prints_and_starts_before_it_fails_is_printed_and_killed(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "leaving_tasks.py").write_text(
        "import subprocess\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n"
        "print('torn line', end='')\n"
        "raise OSError\n"
    )
    child = start("leaving_tasks", path=tmp_path)
    printed = child.await_line()
    with watching(int(printed.split()[0])) as (helper,):
        assert isinstance(child.receive(), wire.LoadFailed)
        assert (printed + child.printed()).endswith("\ntorn line")
        assert child.await_exit() == 0
        helper.await_death()


def test_an_executor_needs_no_heavy_module() -> None:
    """The memory and start time of each executor; and no coverage, which loads sqlite3 itself."""
    heavy = {"asyncio", "anyio", "quart", "hypercorn", "sqlite3", "click", "httpx"}
    with StandIn("vera_executor.demo", coverage=False) as stand_in:
        child = stand_in.start("vera_executor.demo", "sample_tasks")
        child.ready()
        assert not heavy & set(child.call("loaded_modules"))


def test_ping_is_answered_and_retire_obeyed(child: Child) -> None:
    child.send(wire.Ping())
    assert child.receive() == wire.Pong()
    child.send(wire.Retire())
    assert child.receive() is None
    assert child.await_exit() == 0


def test_a_thread_that_a_task_left_does_not_hold_up_the_end(child: Child) -> None:
    child.call("leave_a_thread")
    child.send(wire.Retire())
    assert child.await_exit() == 0
