"""A full queue refuses in words that a client can act on, and clients that vanish lose nothing."""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.http_answers import assert_problem, connect, host_of
from tests.support.patience import start_sleeping, until_status
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

SETTINGS = {"MAX_WORKERS": "1", "QUEUE_SIZE": "3"}
NOOP = b'{"payload":{"function":"noop"}}'
#: SO_LINGER with no time: close() sends a reset.
RESET = struct.pack("ii", 1, 0)


def test_a_full_queue(node: WorkerProcess) -> None:
    running = start_sleeping(node)
    positions = [node.submit("noop", task_id=f"queued-{i}")["position"] for i in range(3)]
    assert positions == [1, 2, 3]
    for path in ("/task/submit", "/execute"):
        refused = node.client.post(path, content=NOOP, headers={"content-type": "application/json"})
        assert "3" in assert_problem(refused, 429)["detail"]
        assert int(refused.headers["retry-after"]) >= 1
    health = node.client.get("/health").json()
    assert (health["status"], health["queue_size"]) == ("degraded", 3)
    assert node.client.get("/metrics").json()["submissions_rejected"] == 2
    # What is known already is not refused, however full the queue is.
    assert node.submit("noop", task_id="queued-1")["position"] == 2
    node.client.delete("/task/queued-0")
    assert node.record("queued-1")["position"] == 1
    assert node.record("queued-1")["blocked_by"] == "executors"
    assert node.submit("noop", task_id="late", priority="high")["position"] == 1
    node.client.delete(f"/task/{running}")
    for task_id in ("late", "queued-1", "queued-2"):
        until_status(node, task_id, "completed")


def test_everything_accepted_under_overload_ends(node: WorkerProcess) -> None:
    def post(_: int) -> httpx.Response:
        return node.client.post("/task/submit", json={"payload": {"function": "noop"}})

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(post, range(100)))
    assert {answer.status_code for answer in answers} <= {202, 429}
    for answer in answers:
        if answer.status_code == 202:
            until_status(node, answer.json()["task_id"], "completed")
        else:
            assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("way", ["half-close", "close", "reset"])
def test_a_client_that_leaves_while_it_submits(node: WorkerProcess, way: str) -> None:
    """A task is either not there, or it runs to its end without anybody's help."""
    for i in range(40):
        task_id = f"{way}-{i}"
        body = b'{"task_id":"%b","payload":{"function":"noop"}}' % task_id.encode()
        head = b"POST /task/submit HTTP/1.1\r\nHost: %b\r\n" % host_of(node.url)
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        with connect(node.url) as connection:
            # Each time another part of the request has been read when the client goes.
            connection.sendall(head + body[: len(body) - max(0, i - 30)])
            if i % 2 and i <= 30:
                connection.recv(1)
            if way == "half-close":
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            elif way == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        found = node.client.get(f"/task/{task_id}")
        if found.status_code == 200:
            until_status(node, task_id, "completed")
        else:
            assert_problem(found, 404)
            assert not (i % 2 and i <= 30), "it was acknowledged"
