"""The real program: a task that eats memory dies alone, with all its processes (L1).

In every way that this machine offers to hold it to its limit: control groups, or samples.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.control_group import control_group
from tests.support.patience import start_sleeping
from tests.support.processes import eventually, executors, slack_s
from tests.support.worker_process import WorkerProcess

SETTINGS = {"TASK_MEMORY": "64MiB", "MAX_WORKERS": "2"}


@pytest.fixture(scope="module", params=["sampling", "cgroup v1"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    directory: Path = tmp_path_factory.mktemp("worker")
    if request.param == "sampling":
        with WorkerProcess(directory, **SETTINGS) as worker:
            yield worker
    else:
        with (
            control_group(directory, "memory") as place,
            WorkerProcess(directory, python=place.python, **SETTINGS, **place.settings) as worker,
        ):
            yield worker


@pytest.fixture
def most_mb(node: WorkerProcess) -> float:
    """Return what a task may get at most where its limit is held as it is here."""
    memory = node.client.get("/health").json()["enforcement"]["memory"]
    return {"sampling": 250.0, "cgroup v1": 64.0}[memory]


@pytest.mark.parametrize(
    "tree", [{"megabytes": 120}, {"megabytes": 30, "children": 4}], ids=["one process", "a tree"]
)
def test_a_balloon_dies_alone_and_its_record_says_what_it_used(
    node: WorkerProcess, most_mb: float, tree: dict[str, int]
) -> None:
    bystander = start_sleeping(node, 300)
    stacks: list[str] = []
    # It has a moment to write its stack: on a machine without time for it, the best of some tries.
    while len(stacks) < 5 and not any(" in _inflate\n" in stack for stack in stacks):
        record = node.submit("balloon", wait=60, kwargs=tree | {"hold_s": 300})
        failure = record["failure"]
        assert (record["status"], failure["cause"], record["attempt"]) == ("failed", "memory", 1)
        assert failure["limit_mb"] == 64
        assert 63 < failure["peak_memory_mb"] <= most_mb
        stacks.append(failure["stack"] or "")
    assert " in _inflate\n" in stacks[-1], stacks
    assert node.record(bystander)["status"] == "running"
    assert node.client.delete(f"/task/{bystander}").status_code == 200


def test_a_task_that_asks_for_far_too_much_at_once_is_refused_it(node: WorkerProcess) -> None:
    record = node.submit("balloon", 400, wait=60)
    failure = record["failure"]
    assert (failure["cause"], failure["type"], failure["limit_mb"]) == ("memory", "MemoryError", 64)
    # What was refused to one task is there for the next.
    assert node.submit("balloon", 20, wait=60)["status"] == "completed"


def test_a_task_that_needs_more_runs_again_one_tier_up(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "worker.toml").write_text(
        '[tasks.functions.balloon]\nmemory_tiers = ["48MiB", "200MiB"]\n'
    )
    with WorkerProcess(tmp_path, MAX_WORKERS="1") as worker:
        # For longer than it takes to be looked at: samples do not see what is over by then.
        record = worker.submit("balloon", 90, wait=60, kwargs={"hold_s": 3})
        assert (record["status"], record["attempt"]) == ("completed", 2)
        record = worker.submit("balloon", 300, wait=60, kwargs={"hold_s": 60})
        failure = record["failure"]
        assert (record["status"], record["attempt"]) == ("failed", 2)
        assert (failure["cause"], failure["limit_mb"]) == ("memory", 200)


def test_where_the_machine_runs_out_the_kernel_takes_executors_first(node: WorkerProcess) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    def of_executors() -> set[int]:
        scores = set()
        for pid in executors(node):
            with suppress(OSError):  # it is gone
                scores.add(score(pid))
        return scores

    # One that was begun just now says so in a moment.
    eventually(lambda: of_executors() == {500}, slack_s(), "they go first")
    assert score(node.process.pid) in (-500, score(os.getpid())), "as low as we may"
