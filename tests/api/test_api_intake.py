"""What stands behind POST /tasks, among fakes: bounds, turns, and clients that leave."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop, turn
from vera_supervisor.api import intake as intake_module
from vera_supervisor.api.app import create_app
from vera_supervisor.api.intake import Intake
from vera_supervisor.api.lines import Line
from vera_supervisor.api.sender import SENDER, Sender
from vera_supervisor.api.services import Services
from vera_supervisor.api.submissions import run_again
from vera_supervisor.catalogue import Catalogue
from vera_supervisor.config import Config
from vera_supervisor.store.protocol import Page, Query, StoreUnavailable
from vera_worker.handlers import describe

ASLEEP = cast("Any", None)


def noop() -> None:
    """Do nothing."""


class Desk:
    """An intake on a bench; the test says when lines come and when the store is done."""

    def __init__(self, *, wait_s: float = 0.0, **policy: Any) -> None:
        self.bench = Bench(**policy)
        self.services = Services(
            config=Config(),
            dispatcher=self.bench.dispatcher,
            store=self.bench.store,
            catalogue=Catalogue([describe(noop)], {}),
            metrics=self.bench.metrics,
            host=ASLEEP,
            pulse=ASLEEP,
            store_watch=ASLEEP,
            clock=self.bench.clock,
            reloader=ASLEEP,
            enforcement=ASLEEP,
            started_at=0.0,
        )
        self.intake = Intake(self.services, "r-1", wait_s=wait_s)
        self.came: asyncio.Queue[list[Line] | None] = asyncio.Queue()
        self.read = 0
        self.answers: list[bytes] = []
        self.client = asyncio.create_task(self._serve())

    async def _lines(self) -> AsyncIterator[list[Line]]:
        while (lines := await self.came.get()) is not None:
            self.read += len(lines)
            yield lines

    async def _serve(self) -> None:
        answers = self.intake.answers(self._lines())
        try:
            async for some in answers:
                self.answers += some
        finally:
            await answers.aclose()

    async def send(self, ids: str) -> None:
        """Send a task for each letter, all in one piece."""
        body = b'{"task_id":"%b","payload":{"function":"noop"}}'
        self.came.put_nowait([Line(n, body % i.encode()) for n, i in enumerate(ids, 1)])
        await turn(10)

    async def until_answered(self, number: int) -> None:
        while len(self.answers) < number:
            await turn()


@on_loop
async def test_nothing_is_answered_before_it_is_stored() -> None:
    desk = Desk()
    await desk.send("abc")
    assert (desk.bench.store.pending, desk.answers) == (3, [])
    desk.bench.store.acknowledge()
    await desk.until_answered(3)
    desk.came.put_nowait(None)
    await desk.client


@on_loop
async def test_a_line_that_cannot_be_stored_is_refused_and_no_other() -> None:
    desk = Desk()
    await desk.send("ab")
    desk.bench.store.fail()
    desk.bench.store.acknowledge()
    await desk.until_answered(2)
    assert b'"code":503,"line":1,"retry_after":' in desk.answers[0]
    assert desk.answers[1].startswith(b'{"code":202,')
    desk.client.cancel()


@on_loop
async def test_a_client_that_leaves_leaves_its_tasks_and_nobody_who_waits() -> None:
    desk = Desk(wait_s=300.0)
    await desk.send("abc")
    desk.bench.store.acknowledge()
    assert desk.bench.journal.waiting == 3
    desk.client.cancel()
    await asyncio.wait([desk.client])
    assert desk.bench.journal.waiting == 0
    for task_id in "abc":
        desk.bench.pool.end(task_id)
        desk.bench.store.acknowledge()
    assert desk.bench.metrics.completed == 3
    assert not desk.bench.dispatcher._ends


@on_loop
async def test_a_client_that_leaves_before_its_tasks_are_stored_leaves_its_tasks() -> None:
    desk = Desk(wait_s=300.0)
    await desk.send("abc")
    desk.client.cancel()
    await asyncio.wait([desk.client])
    desk.bench.store.acknowledge()
    for task_id in "abc":
        desk.bench.pool.end(task_id)
        desk.bench.store.acknowledge()
    assert desk.bench.metrics.completed == 3
    assert not desk.bench.dispatcher._answers
    assert not desk.bench.dispatcher._ends


@on_loop
async def test_what_the_queue_has_no_room_for_is_not_submitted_until_it_has() -> None:
    desk = Desk(queue_size=4)
    await desk.send("abcdefghij")
    desk.bench.store.acknowledge()
    await turn(10)
    desk.bench.store.acknowledge()
    accepted = set(desk.bench.scheduler.live)
    assert accepted == set("abcde"), "one runs, four wait"
    for task_id in "abcdefghij":
        desk.bench.pool.end(task_id)
        desk.bench.store.acknowledge()
        await turn(10)
        desk.bench.store.acknowledge()
        assert desk.bench.scheduler.queued <= 4
    assert desk.bench.metrics.completed == 10
    assert not desk.bench.metrics.refusals
    desk.client.cancel()


@on_loop
async def test_lines_are_read_only_while_few_wait_for_an_answer(monkeypatch: Any) -> None:
    monkeypatch.setattr(intake_module, "_MAX_PENDING", 2)
    desk = Desk(wait_s=300.0)
    for task_id in "abcd":
        await desk.send(task_id)
        desk.bench.store.acknowledge()
    assert desk.read == 3, "the third was read and waits, the fourth was not"
    assert set(desk.bench.scheduler.live) == set("ab")
    desk.bench.pool.end("a")
    desk.bench.store.acknowledge()
    await desk.until_answered(1)
    desk.client.cancel()


@on_loop
async def test_answers_keep_their_turn_however_the_tasks_end() -> None:
    desk = Desk(wait_s=300.0, executors=3)
    await desk.send("abc")
    desk.bench.store.acknowledge()
    for task_id in "cb":
        desk.bench.pool.end(task_id)
        desk.bench.store.acknowledge()
    await turn(10)
    assert desk.answers == []
    desk.bench.pool.end("a")
    desk.bench.store.acknowledge()
    desk.came.put_nowait(None)
    await desk.client
    assert [json.loads(answer)["task_id"] for answer in desk.answers] == list("abc")


@on_loop
async def test_answers_that_take_too_much_until_their_turn_are_read_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(intake_module, "_MAX_HELD_BYTES", 700)
    ids = "abcdefgh"
    desk = Desk(wait_s=300.0, executors=len(ids))
    await desk.send(ids)
    desk.bench.store.acknowledge()
    for task_id in reversed(ids):
        assert desk.intake.held_bytes < 700 + 700, "what is kept beside one more"
        desk.bench.pool.end(task_id)
        desk.bench.store.acknowledge()
    desk.came.put_nowait(None)
    await desk.client
    answers = [json.loads(answer) for answer in desk.answers]
    assert [(said["task_id"], said["status"]) for said in answers] == [
        (task_id, "completed") for task_id in ids
    ]
    assert desk.intake.held_bytes == 0


@on_loop
async def test_when_the_worker_stops_all_are_told_how_things_stand() -> None:
    desk = Desk(wait_s=300.0)
    await desk.send("ab")
    desk.bench.store.acknowledge()
    desk.bench.journal.close()
    desk.came.put_nowait(None)
    await desk.client
    assert [answer[:12] for answer in desk.answers] == [b'{"code":202,'] * 2


@on_loop
async def test_a_task_that_had_ended_before_is_answered_at_once() -> None:
    desk = Desk(wait_s=300.0)
    await desk.send("a")
    desk.bench.store.acknowledge()
    desk.bench.pool.end("a")
    desk.bench.store.acknowledge()
    await desk.until_answered(1)
    await desk.send("a")
    desk.bench.store.acknowledge()
    await desk.until_answered(2)
    assert desk.answers[0] == desk.answers[1]
    desk.client.cancel()


@on_loop
async def test_a_line_that_cannot_be_looked_into_is_refused_and_no_other(monkeypatch: Any) -> None:
    desk = Desk()
    monkeypatch.setattr(desk.bench.store, "get", unreadable)
    dependent = b'{"payload":{"function":"noop"},"depends_on":["z"]}'
    desk.came.put_nowait([Line(1, dependent), Line(2, b'{"payload":{"function":"noop"}}')])
    desk.came.put_nowait(None)
    await turn(10)
    desk.bench.store.acknowledge()
    await desk.client
    refused, accepted = map(json.loads, desk.answers)
    assert (refused["code"], refused["detail"], refused["line"]) == (503, "the disk is gone", 1)
    assert refused["retry_after"] >= 1
    assert accepted["code"] == 202


@on_loop
async def test_a_task_that_had_ended_before_is_named_though_it_cannot_be_read(
    monkeypatch: Any,
) -> None:
    desk = Desk(wait_s=300.0)
    await desk.send("a")
    desk.bench.store.acknowledge()
    desk.bench.pool.end("a")
    desk.bench.store.acknowledge()
    await desk.until_answered(1)
    monkeypatch.setattr(desk.bench.store, "get", unreadable)
    await desk.send("a")
    desk.bench.store.acknowledge()
    await desk.until_answered(2)
    assert json.loads(desk.answers[1]) == {
        "code": 200,
        "status": "completed",
        "task_id": "a",
        "position": None,
    }
    desk.client.cancel()


async def unreadable(_: str) -> None:
    raise StoreUnavailable("the disk is gone")


@on_loop
async def test_the_wait_is_counted_from_the_acceptance_and_then_over() -> None:
    desk = Desk(wait_s=0.001)
    await desk.send("a")
    assert desk.answers == []
    desk.bench.store.acknowledge()
    await desk.until_answered(1)
    assert json.loads(desk.answers[0])["status"] == "running"
    assert desk.bench.journal.waiting == 0
    desk.client.cancel()


@on_loop
async def test_few_pages_are_put_together_at_once(monkeypatch: Any) -> None:
    desk = Desk()
    at_once, most, gate = 0, 0, asyncio.Event()

    async def page(_: Query) -> Page:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1
        return Page([], None)

    monkeypatch.setattr(desk.bench.store, "page", page)
    client = create_app(desk.services).test_client()
    asked = [asyncio.create_task(client.get("/tasks")) for _ in range(20)]
    await turn(100)
    gate.set()
    answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert most == 4
    desk.client.cancel()


@on_loop
async def test_a_task_that_is_run_again_takes_the_turn_of_who_asks_for_it() -> None:
    desk = Desk()
    SENDER.set(Sender("who-retries"))
    task = run_again(make_task("a", function="noop", client="who-submitted"), desk.services)
    assert (task.client, task.retry_of) == ("who-retries", "a")
    desk.client.cancel()
