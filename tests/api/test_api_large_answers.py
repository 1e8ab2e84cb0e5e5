"""Large answers that are read at once have a bound together, whoever reads them and how slowly."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.http_answers import assert_problem, host_of
from tests.support.patience import until
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

SETTINGS = {"VERA_LIMITS__MAX_ANSWERS": "1MiB"}
#: Each has its text in its payload and in its result: all on a page are more than kernels buffer.
TASKS = 8
TEXT = "x" * 1_000_000


def submit(node: WorkerProcess, number: int, wait: int) -> httpx.Response:
    body = {"task_id": f"large-{number}", "payload": {"function": "echo", "args": [TEXT]}}
    return node.client.post(f"/task/submit?wait={wait}", json=body)


@pytest.fixture(scope="module", autouse=True)
def tasks(node: WorkerProcess) -> None:
    for number in range(TASKS):
        assert submit(node, number, 60).json()["status"] == "completed"


@pytest.fixture
def slow_reader(node: WorkerProcess) -> Iterator[socket.socket]:
    """A client that has asked for all tasks at once, and reads nothing of the answer."""
    url = httpx.URL(node.url)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.connect((url.host, url.port))
        client.sendall(b"GET /tasks HTTP/1.1\r\nHost: %b\r\n\r\n" % host_of(node.url))
        until(lambda: node.client.get("/task/large-0").status_code == 503)
        yield client


def test_who_reads_much_slowly_holds_up_those_who_want_much(
    node: WorkerProcess, slow_reader: socket.socket
) -> None:
    for path in ("/task/large-0", "/tasks", "/events", "/task/large-0/events"):
        answer = node.client.get(path)
        assert "too many large answers" in assert_problem(answer, 503)["detail"]
        assert answer.headers["retry-after"] == "1"
    assert node.client.get("/health/live").status_code == 200
    assert node.client.get("/functions").status_code == 200
    slow_reader.close()
    until(lambda: node.client.get("/tasks").status_code == 200)  # it is gone, its room is free


@pytest.mark.usefixtures("slow_reader")
def test_who_has_a_task_accepted_is_told_where_its_record_will_be(node: WorkerProcess) -> None:
    answer = submit(node, 0, 1)
    assert "/task/large-0" in assert_problem(answer, 503)["detail"]
    assert answer.headers["location"] == "/task/large-0"
    assert submit(node, 0, 0).status_code == 200, "short answers are given all the same"


def test_many_that_are_read_leave_no_trace(node: WorkerProcess) -> None:
    with node.client.stream("GET", "/task/large-0/events") as stream:
        lines: list[Any] = [line for line in stream.iter_lines() if line]
    assert max(map(len, lines)) > len(TEXT)
    for _ in range(3):
        assert len(node.client.get("/tasks").content) > TASKS * len(TEXT)
        assert node.client.get("/task/large-0").status_code == 200
