"""How an executor of a pool warms up before it takes tasks, and with which variables."""

from pathlib import Path
from typing import Any

import pytest

from tests.executor.conftest import Start
from tests.executor.harness import Child
from vera_worker import wire

SOURCE = """
import os
model = []
at_load = os.environ.get("DEVICE")
def _load(): model.append(os.environ.get("DEVICE"))
async def _load_slowly(): _load()
def _break(): raise RuntimeError("no \\udcff model")
def _leave(): raise SystemExit(3)
def tell(): return [at_load, model]
"""


def start_with(start: Start, directory: Path, **settings: Any) -> Child:
    (directory / "warm_tasks.py").write_text(SOURCE)
    return start("warm_tasks", path=directory, **settings)


@pytest.mark.parametrize("function", ["_load", "_load_slowly"])
def test_the_warm_up_is_called_once_and_what_it_loads_stays(
    start: Start, tmp_path: Path, function: str
) -> None:
    name = f"warm_tasks.{function}"
    child = start_with(start, tmp_path, warm_ups=[name], warm_up=name, environment={"DEVICE": "3"})
    assert [info.name for info in child.ready().functions] == ["tell"]
    for _ in range(3):
        assert child.call("tell") == ["3", ["3"]]


def test_an_executor_of_another_pool_does_not_call_it(start: Start, tmp_path: Path) -> None:
    child = start_with(start, tmp_path, warm_ups=["warm_tasks._load"])
    child.ready()
    assert child.call("tell") == [None, []]


@pytest.mark.parametrize(
    ("function", "reason"),
    [("_break", "RuntimeError: no \\udcff model"), ("_leave", "SystemExit: 3")],
)
def test_one_that_fails_is_told_and_the_executor_leaves(
    start: Start, tmp_path: Path, function: str, reason: str
) -> None:
    child = start_with(start, tmp_path, warm_up=f"warm_tasks.{function}")
    message = child.receive()
    assert isinstance(message, wire.WarmUpFailed)
    assert (message.function, message.reason) == (f"warm_tasks.{function}", reason)
    assert function in message.traceback
    assert child.receive() is None
    assert child.await_exit() == 0


@pytest.mark.parametrize("name", ["warm_tasks._lod", "warm_tasks.model", "no_such_module.load"])
def test_one_that_there_is_not_is_told_by_every_executor(
    start: Start, tmp_path: Path, name: str
) -> None:
    message = start_with(start, tmp_path, warm_ups=[name]).receive()
    assert isinstance(message, wire.LoadFailed)
    assert message.module == name.rpartition(".")[0]
