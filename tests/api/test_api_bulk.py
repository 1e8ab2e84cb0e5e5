"""Run an ended task again; cancel or forget many."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop, turn
from tests.support.http_answers import assert_problem
from tests.support.patience import start_sleeping, until_status
from tests.support.worker_process import WorkerProcess
from vera_supervisor.api import bulk
from vera_supervisor.api.answers import Cancelled
from vera_supervisor.api.schemas import Filter
from vera_supervisor.api.services import Services
from vera_supervisor.scheduling import events as ev
from vera_worker.lifecycle import Status

pytestmark = pytest.mark.system

SETTINGS = {"MAX_WORKERS": "1"}


def post(node: WorkerProcess, path: str, body: Any = None) -> httpx.Response:
    return node.client.post(path, json=body)


def test_an_ended_task_is_run_again_as_a_new_one(node: WorkerProcess) -> None:
    asked = {"priority": "high", "tags": ["x"], "metadata": {"a": 1}, "max_retries": 0}
    old = node.submit("fail", "boom", wait=60, **asked, timeout=7)
    answer = post(node, f"/task/{old['task_id']}/retry")
    assert answer.status_code == 202
    new_id = answer.json()["task_id"]
    assert answer.headers["location"] == f"/task/{new_id}"
    assert set(answer.json()) == {"status", "task_id", "position"}
    new = until_status(node, new_id, "failed")
    assert (old["retry_of"], new["retry_of"]) == (None, old["task_id"])
    for name in ("payload", "priority", "tags", "metadata", "max_retries", "error"):
        assert new[name] == old[name]
    assert node.record(old["task_id"]) == old, "an end is an end"


def test_what_cannot_be_run_again(node: WorkerProcess) -> None:
    running = start_sleeping(node)
    assert_problem(post(node, f"/task/{running}/retry"), 409)
    node.client.delete(f"/task/{running}")
    assert_problem(post(node, "/task/nobody/retry"), 404)


def test_those_that_match_are_cancelled_and_no_others(node: WorkerProcess) -> None:
    running = start_sleeping(node, tags=["mine"])
    mine = [node.submit("noop", tags=["mine"])["task_id"] for _ in range(70)]
    delayed = node.submit("noop", tags=["mine", "late"], delay=600)["task_id"]
    other = node.submit("noop")["task_id"]
    answer = post(node, "/tasks/cancel", {"tag": "mine", "status": "queued"})
    assert answer.json() == {"cancelled": 71, "stopping": 0}
    for task_id in (mine[0], mine[-1], delayed):
        assert node.record(task_id)["status"] == "cancelled"
    assert node.record(running)["status"] == "running"
    assert post(node, "/tasks/cancel", {"function": "sleep"}).json() == {
        "cancelled": 0,
        "stopping": 1,
    }
    until_status(node, running, "cancelled")
    until_status(node, other, "completed")
    assert post(node, "/tasks/cancel", {"all": True}).json() == {"cancelled": 0, "stopping": 0}


def test_those_that_match_are_forgotten_and_no_others(node: WorkerProcess) -> None:
    post(node, "/tasks/purge", {"all": True})
    gone = node.submit("fail", wait=60)["task_id"]
    kept = node.submit("noop", wait=60)["task_id"]
    running = start_sleeping(node)
    assert post(node, "/tasks/purge", {"status": "failed"}).json() == {"purged": 1}
    assert_problem(node.client.get(f"/task/{gone}"), 404)
    assert post(node, "/tasks/purge", {"all": True}).json() == {"purged": 1}
    assert_problem(node.client.get(f"/task/{kept}"), 404)
    assert node.record(running)["status"] == "running"
    node.client.delete(f"/task/{running}")


@pytest.mark.parametrize("path", ["/tasks/cancel", "/tasks/purge"])
def test_all_tasks_are_meant_only_where_that_is_said(node: WorkerProcess, path: str) -> None:
    assert_problem(post(node, path, {}), 422)
    assert_problem(post(node, path, {"all": False}), 422)
    assert_problem(post(node, path, {"all": True, "tag": "x"}), 422)
    assert_problem(node.client.post(path), 415)
    assert_problem(post(node, path, {"tags": "x"}), 422, field="tags")
    wrong = "completed" if path == "/tasks/cancel" else "queued"
    possible = "queued, running" if path == "/tasks/cancel" else "completed, failed, cancelled"
    for status in (wrong, "done", ""):
        problem = assert_problem(post(node, path, {"status": status}), 422, field="status")
        assert problem["detail"] == f"status: one of {possible} is expected"
    assert_problem(post(node, path, {"status": 1}), 422, field="status")
    twice = b'{"tag": "a", "tag": "b"}'
    answer = node.client.post(path, content=twice, headers={"content-type": "application/json"})
    assert_problem(answer, 422, field="tag")


def cancelling(bench: Bench, **which: Any) -> "asyncio.Task[Cancelled]":
    services = cast("Services", SimpleNamespace(dispatcher=bench.dispatcher))
    return asyncio.create_task(bulk._cancel(services, Filter(**which)))


@on_loop
async def test_one_that_begins_before_its_turn_comes_is_no_waiting_one_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "_AT_ONCE", 1)
    bench = Bench(executors=1)
    for task_id in ("runs", "waits", "begins"):
        bench.dispatcher.post(ev.Submitted(make_task(task_id)))
    bench.store.acknowledge()
    asked = cancelling(bench, status=Status.QUEUED)
    await turn(1)
    bench.pool.end("runs")
    bench.store.acknowledge()
    assert list(bench.pool.assigned) == ["begins"]
    assert await asked == Cancelled(cancelled=1, stopping=0)
    assert not bench.scheduler.live["begins"].unwanted


@on_loop
async def test_many_ends_share_commits_and_only_so_many_wait_for_one() -> None:
    bench = Bench(executors=0, queue_size=10_000)
    for number in range(3000):
        bench.dispatcher.post(ev.Submitted(make_task(f"{number}")))
    bench.store.acknowledge()
    asked = cancelling(bench, all=True)
    commits = 0
    while not asked.done():
        await turn(100)
        assert bench.store.pending <= 1024 + 64
        commits += bench.store.pending > 0
        bench.store.acknowledge()
    assert await asked == Cancelled(cancelled=3000, stopping=0)
    assert commits <= 3
