"""Many tasks at once, and events: both clients against the real worker."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.worker_process import WorkerProcess, worker
from vera_client import ApiProblem, AsyncClient, Client, calls
from vera_client.event_lines import EventReader
from vera_client.records import Cancelled

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with worker(tmp_path_factory.mktemp("node"), MAX_WORKERS="1") as running:
        yield running


@pytest.fixture(params=["blocking", "asynchronous"])
def ask(request: pytest.FixtureRequest, node: WorkerProcess) -> Ask:
    def blocking(method: str, *args: Any, **kwargs: Any) -> Any:
        with Client(node.url) as client:
            said = getattr(client, method)(*args, **kwargs)
            return list(said) if inspect.isgenerator(said) else said

    def asynchronous(method: str, *args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            async with AsyncClient(node.url) as client:
                said = getattr(client, method)(*args, **kwargs)
                if isinstance(said, AsyncIterator):
                    return [piece async for piece in said]
                return await said

        return anyio.run(run)

    return blocking if request.param == "blocking" else asynchronous


@pytest.mark.system
def test_many_tasks_in_order_through_a_queue_that_is_too_small(ask: Ask) -> None:
    records = ask("submit_many", "echo", ([i] for i in range(1200)), wait=60, tags=["many"])
    assert [record.result["args"] for record in records] == [[i] for i in range(1200)]
    assert records[0].tags == ["many"]


@pytest.mark.system
def test_a_problem_stands_in_the_place_of_its_task(ask: Ask) -> None:
    first, second, third = ask("submit_many", "noop", [[], [1], []])
    assert (first.status, third.status) == ("queued", "queued")
    assert isinstance(second, ApiProblem)
    assert second.status == 422
    assert "too many" in second.detail


@pytest.mark.system
def test_run_again_cancel_and_forget(ask: Ask) -> None:
    ended = ask("submit", "noop", wait=60)
    again = ask("retry", ended.task_id)
    assert ask("wait", again.task_id).retry_of == ended.task_id
    ask("submit", "noop", delay=600, tags=["late"])
    assert ask("cancel_many", tag="late") == Cancelled(1, 0)
    assert ask("purge", status="cancelled", tag="late") == 1
    assert ask("purge") >= 2


@pytest.mark.system
def test_the_events_of_a_task(ask: Ask) -> None:
    ended = ask("submit", "noop", wait=60)
    [state] = ask("events", ended.task_id)
    assert (state.kind, state.data["status"]) == ("state", "completed")
    assert ask("events", ended.task_id, state.id) == []
    with pytest.raises(ApiProblem, match="no task"):
        ask("events", "nobody")


@given(st.lists(st.integers(0, 400_000), max_size=8), st.integers(0, 1100))
def test_a_batch_is_bounded_and_nothing_is_left_out(sizes: list[int], small: int) -> None:
    args = [["x" * size] for size in sizes] + [[1]] * small
    bodies = list(calls.batches("echo", args, {}))
    lines = [line for body in bodies for line in body.splitlines()]
    assert len(lines) == len(args)
    for body in bodies:
        assert body.count(b"\n") <= 500
        assert len(body) <= 512 * 1024 or body.count(b"\n") == 1


def test_events_out_of_lines() -> None:
    reader = EventReader()
    lines = [": hello", "", "id: e-1", "event: ended", 'data: {"a": "b: c"}', "", "data: 1"]
    events = [event for line in lines if (event := reader.feed(line))]
    assert [(event.kind, event.id, event.data) for event in events] == [
        ("ended", "e-1", {"a": "b: c"})
    ]
