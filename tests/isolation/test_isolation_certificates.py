"""Every bad end is told in full: for each cause, which parts of `failure` are there.

What does not apply to a cause is null: nobody has to guess what a zero would mean.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.isolation.conftest import SETTINGS
from tests.support.patience import until
from tests.support.worker_process import WorkerProcess, worker

#: What any attempt has that ran and was seen to end.
MEASURED = {"duration_s", "cpu_seconds", "peak_memory_mb"}
#: Function, keyword arguments and terms of a submission; its cause, and what is not null beside it.
ENDS: dict[str, tuple[str, dict[str, Any], dict[str, Any], str, set[str]]] = {
    "raises": (
        "print_then",
        {"end": "raise"},
        {},
        "exception",
        {"type", "traceback", "output_tail"} | MEASURED,
    ),
    "hangs": (
        "print_then",
        {"end": "hang"},
        {"timeout": 0.6},
        "timeout",
        {"timeout_s", "signal", "stack", "output_tail"} | MEASURED,
    ),
    "returns too late": (
        "return_late",
        {"seconds": 0.9},
        {"timeout": 0.3},
        "timeout",
        {"timeout_s"} | MEASURED,
    ),
    "is killed": (
        "print_then",
        {"end": "die"},
        {},
        "crashed",
        {"signal", "output_tail"} | MEASURED,
    ),
    "exits": ("os_exit", {"code": 3}, {}, "crashed", {"exit_code"} | MEASURED),
    "segfaults": ("segfault", {}, {}, "crashed", {"signal", "stack"} | MEASURED),
    "eats memory": (
        "balloon",
        {"megabytes": 100, "hold_s": 60},
        {"requirements": {"memory_mb": 64}},
        "memory",
        {"limit_mb", "signal", "stack"} | MEASURED,
    ),
    "asks for too much memory": (
        "balloon",
        {"megabytes": 400},
        {"requirements": {"memory_mb": 64}},
        "memory",
        {"limit_mb", "type", "traceback"} | MEASURED,
    ),
    "returns no JSON": (
        "unserialisable",
        {},
        {},
        "unserialisable_result",
        {"type"} | MEASURED,
    ),
    "expires": (
        "echo",
        {},
        {"delay": 0.2, "expires_at": "2001-01-01T00:00:00Z"},
        "expired",
        set(),
    ),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    directory: Path = tmp_path_factory.mktemp("worker")
    with worker(directory, **(SETTINGS | {"VERA_LIMITS__KILL_GRACE": "1.7"})) as running:
        yield running


def present(failure: dict[str, Any]) -> set[str]:
    return {name for name, value in failure.items() if value is not None} - {"cause", "message"}


@pytest.mark.parametrize("end", ENDS)
def test_each_end_says_all_that_there_is_to_say(node: WorkerProcess, end: str) -> None:
    function, kwargs, terms, cause, parts = ENDS[end]
    # A stack takes a moment: on a machine without time for it, the best of some tries.
    for _ in range(5):
        record = node.submit(function, wait=60, kwargs=kwargs, **terms)
        failure = record["failure"]
        assert (record["status"], failure["cause"]) == ("failed", cause), failure
        assert record["error"].endswith(failure["message"])
        if present(failure) == parts:
            break
    assert present(failure) == parts
    if "stack" in parts and cause != "crashed":
        function_frame = {"balloon": "_inflate"}.get(function, function)
        assert f" in {function_frame}\n" in failure["stack"]


def test_one_that_is_cancelled_says_so_whether_it_ran_or_not(node: WorkerProcess) -> None:
    waiting = node.submit("echo", delay=60)["task_id"]
    assert present(node.client.delete(f"/task/{waiting}").json()["failure"]) == set()
    running = node.submit("print_then", kwargs={"end": "hang"})["task_id"]
    output = f"/task/{running}/output"
    until(lambda: "here" in node.client.get(output).text)
    failure = node.client.delete(f"/task/{running}").json()["failure"]
    assert failure["cause"] == "cancelled"
    assert present(failure) == {"signal", "stack", "output_tail"} | MEASURED


def test_one_that_the_end_of_the_worker_interrupts_says_where_it_was(tmp_path: Path) -> None:
    settings = SETTINGS | {"STORE_URL": "sqlite:///tasks.db", "VERA_SERVER__DRAIN_TIMEOUT": "0"}
    with worker(tmp_path, **settings) as node:
        task_id = node.submit("print_then_once", "hang")["task_id"]
        while "here" not in node.client.get(f"/task/{task_id}/output").text:
            pass
        assert node.terminate() == 0
    with worker(tmp_path, **settings) as node:
        failure = node.record(task_id)["failure"]
    assert failure["cause"] == "interrupted"
    assert present(failure) == {"signal", "stack", "output_tail"} | MEASURED


def test_the_last_four_kibibytes_of_output_are_told(node: WorkerProcess) -> None:
    failure = node.submit("print_then", "raise", 10_000, wait=60)["failure"]
    assert len(failure["output_tail"]) == 4096
    assert failure["output_tail"].endswith("x here\n")
