"""The real program with pools: who runs where, with which variables, and what stays loaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.patience import start_sleeping, until
from tests.support.worker_process import WorkerFailedError, WorkerProcess

MODULES = "vera_executor.demo,tests.system.pooled_tasks"
ROOT = Path(__file__).parents[2]
POOLS = """
[executor]
max_workers = 2
[pools.gpu]
functions = ["infer", "meet", "train"]
gpus = [2, 5]
environment = {LEVEL = 7}
warm_up = "tests.system.pooled_tasks._load_model"
[pools.single]
functions = ["sleep"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "worker.toml"
    path.write_text(POOLS)
    return path


def start(file: Path) -> WorkerProcess:
    settings = {"VERA_CONFIG": str(file), "PYTHONPATH": str(ROOT)}
    return WorkerProcess(file.parent, modules=MODULES, **settings)


@pytest.fixture
def node(file: Path) -> Iterator[WorkerProcess]:
    with start(file) as worker:
        yield worker


def result(node: WorkerProcess, function: str, *args: Any) -> Any:
    record = node.submit(function, *args, wait=60)
    assert record["status"] == "completed", record
    return record["result"]


def pool(node: WorkerProcess, name: str) -> Any:
    return node.client.get("/health").json()["pools"][name]


def test_each_executor_has_a_gpu_of_its_own_and_a_model_that_stays_loaded(
    node: WorkerProcess,
) -> None:
    ids = [node.submit("meet", *names)["task_id"] for names in (("a", "b"), ("b", "a"))]
    both = [node.record(task_id, wait=60)["result"] for task_id in ids]
    assert {one["gpu"] for one in both} == {"2", "5"}
    for one in both:
        assert one["model"] == [one["gpu"]], "the warm-up ran once, and knew its GPU"
        assert one["level"] == one["level_at_load"] == "7"
    pids = {one["pid"] for one in both}
    for _ in range(3):
        later = result(node, "infer")
        assert later["pid"] in pids
        assert later["model"] == [later["gpu"]]
    alone = result(node, "train")
    assert alone["pid"] not in pids
    assert alone["model"] == [alone["gpu"]] != [None]
    plain = result(node, "plain")
    assert plain["pid"] not in pids
    assert (plain["gpu"], plain["level"], plain["model"]) == (None, None, [])


def test_a_full_pool_holds_back_its_own_tasks_and_no_others(node: WorkerProcess) -> None:
    running = start_sleeping(node, 300)
    waiting = [
        node.submit("sleep", 0, priority=priority)["task_id"] for priority in ("low", "critical")
    ]
    assert result(node, "plain")["gpu"] is None
    records = [node.record(task_id) for task_id in waiting]
    assert [(r["position"], r["blocked_by"]) for r in records] == [
        (2, "executors"),
        (1, "executors"),
    ]
    body = {"payload": {"function": "plain"}}
    tried = node.client.post("/task/submit?dry_run=1", json=body).json()
    assert (tried["position"], tried["blocked_by"]) == (1, None)
    assert pool(node, "single") == {
        "max_workers": 1,
        "queued": 2,
        "executors": dict.fromkeys(pool(node, "single")["executors"], 0) | {"busy": 1},
    }
    gauges = node.client.get("/metrics/prometheus").text
    assert '\npool_queue_size{pool="single"} 2.0' in gauges
    assert '\npool_executors{pool="single",state="busy"} 1.0' in gauges
    functions = node.client.get("/functions").json()["functions"]
    assert {f["name"]: f["pool"] for f in functions}["sleep"] == "single"
    node.client.delete(f"/task/{running}").raise_for_status()
    ended = [node.record(task_id, wait=60) for task_id in waiting]
    assert [record["status"] for record in ended] == ["completed", "completed"]
    assert ended[1]["completed_at"] <= ended[0]["started_at"]


def test_the_size_of_a_pool_changes_while_its_tasks_run(node: WorkerProcess, file: Path) -> None:
    first = start_sleeping(node, 300)
    second = node.submit("sleep", 300)["task_id"]
    file.write_text(f"{POOLS}max_workers = 2\n")
    changes = node.client.post("/admin/reload").raise_for_status().json()["changes"]
    assert [change["key"] for change in changes] == ["pools.single.max_workers"]
    until(lambda: bool(node.record(second)["status"] == "running"))
    assert node.record(first)["attempt"] == 1
    file.write_text(POOLS.replace('["sleep"]', '["sleep", "noop"]'))
    refused = node.client.post("/admin/reload")
    said = "pools.single.functions" in refused.json()["detail"]
    assert (refused.status_code, said) == (409, True)


def test_a_failing_warm_up_is_tried_again_and_costs_the_other_pools_nothing(file: Path) -> None:
    hindrance = file.parent / "no-model"
    hindrance.touch()
    with start(file) as node:
        until(lambda: "there is no model" in node.log.read_text())
        assert result(node, "plain")["model"] == []

        def says_so() -> bool:  # once the end of its executor has been heard of, too
            health = node.client.get("/health")
            reason = "no executor of the pool gpu is ready"
            return (
                health.status_code == 200
                and health.json()["status"] == "degraded"
                and reason in health.json()["reasons"]
            )

        until(says_so)
        task_id = node.submit("infer")["task_id"]
        hindrance.unlink()
        assert node.record(task_id, wait=60)["result"]["level"] == "7"
        until(lambda: node.client.get("/health").json()["status"] == "healthy")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            '"infer"',
            '"infre"',
            'pools.gpu.functions: no task module offers a function "infre"; did you mean "infer"?',
        ),
        (
            "_load_model",
            "_load",
            "'tests.system.pooled_tasks._load', and there is no such function",
        ),
    ],
)
def test_a_name_that_means_nothing_stops_the_start(
    file: Path, right: str, wrong: str, message: str
) -> None:
    file.write_text(POOLS.replace(right, wrong))
    with pytest.raises(WorkerFailedError) as failed:
        start(file)
    assert failed.value.status == 2
    assert message in failed.value.log
    assert "could not be started" not in failed.value.log  # of executors that nobody wants any more


def test_an_executor_that_has_grown_is_replaced_between_two_tasks(file: Path) -> None:
    file.write_text('[executor]\nmax_workers = 1\nmax_growth = "32MiB"\n')
    with start(file) as node:
        first = result(node, "hoard", 64)["pid"]  # what its first task leaves is no growth
        assert result(node, "plain")["pid"] == first
        second = result(node, "hoard", 64)["pid"]
        until(lambda: result(node, "plain")["pid"] != second)
        assert "and max_growth is 32 MiB" in node.log.read_text()
        assert node.client.get("/metrics").json()["tasks_failed"] == 0
