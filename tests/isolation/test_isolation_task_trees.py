"""Nothing that a task started outlives its attempt, however the attempt ends (P1, P3)."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.isolation.conftest import SETTINGS, StartWorker
from tests.support.control_group import UNIFIED, control_group
from tests.support.processes import (
    alive,
    eventually,
    executors,
    slack_s,
    strays,
    task_processes,
)
from tests.support.rounds import rounds
from tests.support.worker_process import WorkerProcess, worker

pytestmark = pytest.mark.system

#: A subprocess, a daemon and a child that ignores SIGTERM, with a subprocess and a daemon of its.
TREE = 5
#: Many times what it takes to start them all, on a busy machine too.
TIMEOUT_S = 2.0
#: What a task may start, where that is counted; its executor and two of its threads count as well.
MOST_PROCESSES = 40
#: Hierarchies that the worker has groups in, by the way in which it then kills.
MODES = {
    "process tree": (),
    "groups that only count": ("memory", "pids"),
    "groups that kill": (UNIFIED, "memory", "pids"),
}


@pytest.fixture(scope="module", params=MODES)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """Return a worker that kills in the way that it can where it runs."""
    directory, hierarchies = tmp_path_factory.mktemp("worker"), MODES[request.param]
    settings = SETTINGS | {"VERA_LIMITS__TASK_PROCESSES": str(MOST_PROCESSES)}
    if not hierarchies:
        with worker(directory, **settings) as running:
            yield running
        return
    with (
        control_group(directory, *hierarchies) as place,
        worker(directory, python=place.python, **settings, **place.settings) as running,
    ):
        enforcement = running.client.get("/health").json()["enforcement"]
        assert (enforcement["kill"] == "cgroup v2") is (UNIFIED in hierarchies)
        assert (enforcement["processes"] == "cgroup v1") is ("pids" in hierarchies)

        def one_each() -> bool:
            return all(len(place.executors(which)) == 2 for which in hierarchies)

        eventually(one_each, 2 + slack_s(), "each executor has its group")
        yield running
        eventually(one_each, 2 + slack_s(), "groups of executors that are gone are gone as well")


@pytest.fixture(autouse=True)
def _no_strays_before(shared: WorkerProcess) -> Iterator[None]:
    eventually(lambda: len(executors(shared)) == 2, 2 + slack_s(), "two executors")
    assert strays(shared) == []
    yield
    assert shared.submit("echo", wait=60)["status"] == "completed"


def _started(worker: WorkerProcess, task_id: str) -> list[int]:
    """Return the pids that a running task has printed, once it has."""
    path = f"/task/{task_id}/output"
    eventually(
        lambda: "\n" in worker.client.get(path).text, 20 + slack_s(), "the task starts its tree"
    )
    pids = [int(word) for word in worker.client.get(path).text.split()]
    assert len(pids) == TREE
    eventually(
        lambda: len(task_processes(task_id)) == 2,
        slack_s(),
        "the programs among them carry the task's id",
    )
    return pids


@rounds(1, 100)
def test_a_timeout_takes_the_whole_tree(shared: WorkerProcess, rounds: int) -> None:
    for _ in range(rounds):
        task_id = shared.submit("tree_and", "hang", timeout=TIMEOUT_S)["task_id"]
        pids = _started(shared, task_id)
        record = shared.record(task_id, wait=60)
        assert record["failure"]["cause"] == "timeout"
        assert (alive(pids), strays(shared), task_processes(task_id)) == ([], [], [])


@rounds(1, 100)
def test_a_timeout_takes_the_tree_of_a_task_that_holds_the_interpreter(
    shared: WorkerProcess, rounds: int
) -> None:
    for _ in range(rounds):
        record = shared.submit("tree_and_hold_gil", timeout=0.8, wait=60)
        assert record["failure"]["cause"] == "timeout"
        assert strays(shared) == []


@rounds(1, 100)
def test_a_cancellation_takes_the_whole_tree(shared: WorkerProcess, rounds: int) -> None:
    for _ in range(rounds):
        task_id = shared.submit("tree_and", "hang")["task_id"]
        pids = _started(shared, task_id)
        assert shared.client.delete(f"/task/{task_id}").json()["status"] == "cancelled"
        assert (alive(pids), strays(shared)) == ([], [])


@pytest.mark.parametrize("end", ["return", "raise"])
@rounds(1, 100)
def test_an_end_takes_the_whole_tree_and_keeps_the_executor(
    shared: WorkerProcess, rounds: int, end: str
) -> None:
    before = sorted(executors(shared))
    for _ in range(rounds):
        record = shared.submit("tree_and", end, wait=60)
        assert record["status"] == {"return": "completed", "raise": "failed"}[end]
        pids = shared.client.get(f"/task/{record['task_id']}/output").text.split()
        assert len(pids) == TREE
        assert (alive([int(pid) for pid in pids]), strays(shared)) == ([], [])
    assert sorted(executors(shared)) == before


@rounds(1, 100)
def test_a_crash_takes_the_whole_tree(shared: WorkerProcess, rounds: int) -> None:
    for _ in range(rounds):
        record = shared.submit("tree_and", "die", wait=60)
        failure = record["failure"]
        assert (failure["cause"], failure["signal"]) == ("crashed", "SIGKILL")
        pids = [int(pid) for pid in failure["output_tail"].split()]
        assert len(pids) == TREE
        assert (alive(pids), strays(shared)) == ([], [])


@rounds(1, 30)
def test_a_fork_bomb_is_contained_and_killed(shared: WorkerProcess, rounds: int) -> None:
    counted = shared.client.get("/health").json()["enforcement"]["processes"] != "none"
    for _ in range(rounds):
        task_id = shared.submit("fork_bomb", 64, timeout=TIMEOUT_S)["task_id"]
        most, latencies = 0, []
        while shared.record(task_id)["status"] != "failed":
            most = max(most, len(strays(shared)))
            before = time.monotonic()
            assert shared.client.get("/health/live").status_code == 200
            latencies.append(time.monotonic() - before)
        assert (most < MOST_PROCESSES) is counted, most
        assert max(latencies) < 1 + slack_s()
        assert shared.record(task_id)["failure"]["cause"] == "timeout"
        # Its end does not wait for the last of many processes to vanish; they have two seconds.
        eventually(lambda: strays(shared) == [], 2 + slack_s(), "the bomb is gone")
        assert shared.submit("echo", wait=60)["status"] == "completed"


def test_every_program_that_a_task_starts_carries_its_id(shared: WorkerProcess) -> None:
    record = shared.submit("task_id_of_processes", wait=60)
    assert record["result"] == [record["task_id"]] * 2


def test_the_task_id_does_not_depend_on_the_environment_that_the_last_task_left(
    start_worker: StartWorker,
) -> None:
    worker = start_worker(MIN_WORKERS="1", MAX_WORKERS="1")
    assert worker.submit("clear_environment", wait=60)["status"] == "completed"
    assert worker.submit("echo", wait=60)["status"] == "completed"
    (executor,) = executors(worker)
    assert worker.submit("own_pid", wait=60)["result"] == executor


def test_a_drain_takes_the_whole_tree(start_worker: StartWorker) -> None:
    worker = start_worker(VERA_SERVER__DRAIN_TIMEOUT="0.2")
    task_id = worker.submit("tree_and", "hang")["task_id"]
    pids = _started(worker, task_id)
    assert worker.terminate(10 + slack_s()) == 0
    assert alive(pids) == []
    eventually(lambda: not worker.survivors(), 2 + slack_s(), "all of the worker is gone")


def test_an_idle_executor_that_is_killed_leaves_nothing_either(shared: WorkerProcess) -> None:
    before = executors(shared)
    os.kill(before[0], signal.SIGKILL)
    within = 2 + slack_s()
    eventually(lambda: len(set(executors(shared)) - {before[0]}) == 2, within, "two executors")
    assert strays(shared) == []
