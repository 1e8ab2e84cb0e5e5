"""Server-sent events: nothing is missed without a word, and streams end when there is no more."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from tests.support.http_answers import assert_problem
from tests.support.patience import start_sleeping, until_status
from tests.support.worker_process import WorkerProcess, worker

pytestmark = pytest.mark.system

SETTINGS = {
    "MAX_WORKERS": "1",
    "VERA_SERVER__EVENT_HISTORY": "40",
    "VERA_SERVER__HEARTBEAT": "0.05",
}


class Message(NamedTuple):
    kind: str
    data: Any
    id: str | None


class Stream:
    """One open event stream."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        self.lines = answer.iter_lines()

    def comment(self) -> str:
        return next(line for line in self.lines if line.startswith(":"))

    def message(self) -> Message | None:
        fields: dict[str, str] = {}
        for line in self.lines:
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                return Message(fields["event"], json.loads(fields["data"]), fields.get("id"))
        return None

    def rest(self) -> list[Message]:
        return list(iter(self.message, None))


@contextmanager
def listening(
    node: WorkerProcess, path: str = "/events", last_id: str | None = None
) -> Iterator[Stream]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with node.client.stream("GET", path, headers=headers) as answer:
        yield Stream(answer)


def test_the_events_of_one_task_up_to_its_end(node: WorkerProcess) -> None:
    running = start_sleeping(node)
    node.submit("noop", task_id="one")
    with listening(node, "/task/one/events") as stream:
        state = stream.message()
        assert state is not None
        assert (state.kind, state.data["status"], state.data["position"]) == ("state", "queued", 1)
        assert state.data["payload"]["function"] == "noop"
        node.client.delete(f"/task/{running}")
        messages = stream.rest()
    assert [message.kind for message in messages] == ["started", "ended"]
    end = messages[-1].data
    assert (end["task_id"], end["function"], end["status"]) == ("one", "noop", "completed")
    assert end["at"].endswith("Z")


def test_a_task_that_has_ended_is_told_at_once_and_once(node: WorkerProcess) -> None:
    task_id = node.submit("fail", wait=60)["task_id"]
    path = f"/task/{task_id}/events"
    with listening(node, path) as stream:
        [state] = stream.rest()
    assert (state.kind, state.data["status"]) == ("state", "failed")
    # A browser comes back with the last id that it has seen, and is told to stop.
    again = node.client.get(path, headers={"Last-Event-ID": state.id or ""})
    assert (again.status_code, again.content) == (204, b"")


def test_an_unknown_task_has_no_events(node: WorkerProcess) -> None:
    assert_problem(node.client.get("/task/nobody/events"), 404)


def test_all_events_from_now_on(node: WorkerProcess) -> None:
    with listening(node) as stream:
        stream.comment()
        for task_id in ("x", "y"):
            node.submit("noop", task_id=task_id, wait=60)
        seen = [stream.message() for _ in range(6)]
    assert [(m.data["task_id"], m.kind) for m in seen if m] == [
        (task_id, kind) for task_id in ("x", "y") for kind in ("queued", "started", "ended")
    ]


def test_who_was_cut_off_goes_on_where_it_was(node: WorkerProcess) -> None:
    with listening(node) as stream:
        stream.comment()
        node.submit("noop", task_id="before", wait=60)
        first = stream.message()
        assert first is not None
        assert (first.kind, first.data["position"]) == ("queued", 1)
    node.submit("noop", task_id="between", wait=60)
    with listening(node, last_id=first.id) as stream:
        missed = [stream.message() for _ in range(5)]
        assert [(m.data["task_id"], m.kind) for m in missed if m] == [
            ("before", "started"),
            ("before", "ended"),
            ("between", "queued"),
            ("between", "started"),
            ("between", "ended"),
        ]
        node.submit("noop", task_id="after", wait=60)
        live = stream.message()
        assert live is not None
        assert live.data["task_id"] == "after"


def test_who_was_away_for_too_long_is_told_so_and_goes_on(node: WorkerProcess) -> None:
    with listening(node) as stream:
        stream.comment()
        node.submit("noop", wait=60)
        first = stream.message()
    assert first is not None
    for _ in range(20):
        node.submit("noop", wait=60)
    for last_id in (first.id, "00000000-1", "nonsense"):
        with listening(node, last_id=last_id) as stream:
            reset = stream.message()
            assert reset is not None
            assert reset.kind == "reset"
            node.submit("noop", task_id=f"after-{last_id}", wait=60)
            following = stream.message()
            assert following is not None
            assert following.data["task_id"] == f"after-{last_id}"
    node.submit("noop", task_id="known", wait=60)
    with listening(node, "/task/known/events", last_id=first.id) as stream:
        kinds = [message.kind for message in stream.rest()]
    assert kinds == ["reset", "state"]


def test_a_silent_stream_shows_that_it_lives(node: WorkerProcess) -> None:
    with listening(node) as stream:
        assert [stream.comment() for _ in range(3)] == [": welcome", *[": still here"] * 2]


def test_progress_is_an_event(node: WorkerProcess) -> None:
    with listening(node) as stream:
        stream.comment()
        task_id = node.submit("sleep", 0.3, wait=60)["task_id"]
        messages = []
        while not messages or messages[-1].kind != "ended":
            message = stream.message()
            assert message is not None
            messages.append(message)
    progress = [m.data["progress"] for m in messages if m.kind == "progress"]
    assert progress
    assert all(set(said) == {"fraction", "message"} for said in progress)
    assert {m.data["task_id"] for m in messages} == {task_id}


def test_clients_that_leave_are_forgotten_and_their_tasks_go_on(node: WorkerProcess) -> None:
    running = start_sleeping(node)
    for _ in range(20):
        with listening(node, f"/task/{running}/events") as stream:
            stream.message()
    node.client.delete(f"/task/{running}")
    until_status(node, running, "cancelled")


def test_a_worker_that_stops_ends_its_streams(tmp_path: Any) -> None:
    with worker(tmp_path) as node:
        with listening(node) as stream:
            stream.comment()
            node.process.terminate()
            assert stream.rest() == []
        assert node.process.wait(60) == 0


def test_who_asks_for_the_headers_of_a_stream_gets_no_more(node: WorkerProcess) -> None:
    task_id = start_sleeping(node)
    for path in ("/events", f"/task/{task_id}/events", f"/task/{task_id}/output?follow=1"):
        answer = node.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    assert node.client.head("/functions").headers["content-length"] != "0"
    node.client.delete(f"/task/{task_id}")
