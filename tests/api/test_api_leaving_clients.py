"""A client that leaves, at whichever moment, loses nothing and leaves nothing stranded (D6)."""

import asyncio
import json
import socket
import struct
from contextlib import suppress
from dataclasses import fields
from random import Random
from typing import Any, Final, cast
from urllib.parse import urlsplit

import pytest
from quart import Quart

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.on_loop import on_loop, turn
from tests.support.patience import until
from tests.support.rounds import rounds
from tests.support.worker_process import WorkerProcess
from vera_supervisor.api.app import create_app
from vera_supervisor.api.services import Services
from vera_supervisor.catalogue import Catalogue
from vera_supervisor.config import Config
from vera_supervisor.store.protocol import Query
from vera_worker.handlers import describe

SETTINGS: Final = {"QUEUE_SIZE": "3000", "STORE_URL": "sqlite:///tasks.db"}
#: Turns of the loop after which every request here has been answered.
_ENOUGH: Final = 60


def work() -> None:
    """Do nothing."""


class House:
    """The API in front of a dispatcher among fakes."""

    def __init__(self) -> None:
        self.bench = Bench(1, queue_size=1000)
        bench = self.bench
        parts: dict[str, Any] = {
            "config": Config(),
            "dispatcher": bench.dispatcher,
            "store": bench.store,
            "catalogue": Catalogue([describe(work)], {}),
            "metrics": bench.metrics,
            "clock": bench.clock,
        }
        others: dict[str, Any] = dict.fromkeys(each.name for each in fields(Services))
        self._app = create_app(Services(**others | parts))

    async def ask(self, path: str, kind: str, body: bytes, *, turns: int, every: int) -> bool:
        """Send a request and leave after so many turns of the loop; return if it was answered.

        The store acknowledges what it has at every so many turns, also after the client has left.
        In the end all that waits runs to its end.
        """
        path, _, query = path.partition("?")
        sent: list[Any] = []
        messages: asyncio.Queue[Any] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
        scope = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "http_version": "1.1",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"content-type", kind.encode()), (b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "extensions": {},
        }

        async def send(message: Any) -> None:
            sent.append(message)

        app = cast("Any", self._app)
        serving = asyncio.create_task(app(scope, messages.get, send))
        for number in range(turns):
            await turn(1)
            if number % every == 0:
                self.bench.store.acknowledge()
        messages.put_nowait({"type": "http.disconnect"})
        for number in range(_ENOUGH):
            await turn(1)
            if number % every == 0:
                self.bench.store.acknowledge()
        self._finish()
        await serving  # before Python 3.12 it may not have noticed that the client has left
        return any(not message.get("more_body", True) for message in sent)

    def _finish(self) -> None:
        """Let all that waits run to its end."""
        bench = self.bench
        bench.store.acknowledge()
        while bench.pool.assigned:
            for task_id in list(bench.pool.assigned):
                bench.pool.end(task_id)
            bench.store.acknowledge()


def bodies(task_id: str) -> list[tuple[str, str, bytes]]:
    """Return all ways to submit tasks whose ids begin so."""
    one = {"task_id": task_id, "payload": {"function": "work"}}
    many = [one | {"task_id": f"{task_id}-{number}"} for number in range(3)]
    lines = b"\n".join(json.dumps(each).encode() for each in many)
    return [
        ("/task/submit", "application/json", json.dumps(one).encode()),
        ("/task/submit?wait=9", "application/json", json.dumps(one).encode()),
        ("/tasks", "application/json", json.dumps(many).encode()),
        ("/tasks?wait=9", "application/x-ndjson", lines),
    ]


@on_loop
async def test_an_answer_is_sent_for_as_long_as_it_is_read() -> None:
    """Quart would cut it off after a while; server.send_timeout is what there is for each piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quart, "default_config", {**Quart.default_config, "RESPONSE_TIMEOUT": 0})
        house = House()
    path, kind, body = bodies("t")[0]
    assert await house.ask(path, kind, body, turns=_ENOUGH, every=1)


@pytest.mark.parametrize("way", range(4))
@on_loop
async def test_a_client_may_leave_at_every_await(way: int) -> None:
    house, answered, stored = House(), 0, 0
    for every in (1, 2, 3, 7):
        for turns in range(_ENOUGH):
            path, kind, body = bodies(f"t{turns}-{every}")[way]
            answered += await house.ask(path, kind, body, turns=turns, every=every)
            page = await house.bench.store.page(Query(limit=1000))
            assert all(record.ended for record in page.records)
            assert not house.bench.scheduler.live, "nothing is stranded"
            stored = len(page.records)
    assert stored > 0
    assert answered > 0 or "wait" in path, "some stay until they are answered"


@pytest.mark.system
@rounds(200, 2000)
def test_no_way_to_leave_strands_a_task(node: WorkerProcess, rounds: int) -> None:
    chance = Random(rounds)
    address = urlsplit(node.url)
    for number in range(rounds):
        body = json.dumps({"task_id": f"left-{number}", "payload": {"function": "noop"}}).encode()
        head = (
            f"POST /task/submit{chance.choice(('', '?wait=9'))} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        request = head + body
        whole = chance.random() < 0.8
        with socket.create_connection((address.hostname, address.port), timeout=30) as client:
            client.sendall(request if whole else request[: chance.randrange(len(request))])
            if chance.random() < 0.3:
                client.settimeout(chance.random() / 100)
                with suppress(TimeoutError):
                    client.recv(1)
                client.settimeout(30)
            way = chance.choice(("close", "half-close", "reset"))
            if way == "half-close":
                client.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    while client.recv(4096):
                        pass
            elif way == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left = [f"left-{number}" for number in range(rounds)]

    def none_is_stranded() -> bool:
        """Return whether all that were heard have ended: some may be heard only now."""
        there = sum(exists(node, task_id) for task_id in left)
        return len(list_of(node, "completed")) == there > 0

    until(none_is_stranded)


def list_of(node: WorkerProcess, status: str) -> list[str]:
    """Return the ids of all tasks of a status."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        query = {"status": status, "limit": "1000"} | cursor
        page = node.client.get("/tasks", params=query).raise_for_status().json()
        ids += [task["task_id"] for task in page["tasks"]]
        if page["cursor"] is None:
            return ids
        cursor = {"cursor": page["cursor"]}


def exists(node: WorkerProcess, task_id: str) -> bool:
    """Return whether there is such a task."""
    return node.client.get(f"/task/{task_id}").status_code == 200
