"""How the program starts, refuses to start, and stops (C1, C2, C4)."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.http_answers import assert_problem, connect, host_of, read_to_end
from tests.support.patience import start_sleeping, until_status
from tests.support.ports import free_ports
from tests.support.processes import eventually, slack_s
from tests.support.worker_process import WorkerFailedError, WorkerProcess, worker

pytestmark = pytest.mark.system


def refusal(directory: Path, **settings: str) -> tuple[int, list[str]]:
    """Start a worker that must not start; return its exit status and what it wrote."""
    with pytest.raises(WorkerFailedError) as failed:
        WorkerProcess(directory, **settings)
    return failed.value.status, failed.value.log.splitlines()


def start_stubborn(node: WorkerProcess) -> str:
    """Start a task that heeds no wish to stop, and return its id once it runs."""
    task_id: str = node.submit("return_late", 600)["task_id"]
    until_status(node, task_id, "running")
    return task_id


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_every_variable_of_the_original_takes_effect(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = {
        "WORKER_ID": "from-environment",
        "WORKER_PORT": str(port),
        "LOG_LEVEL": "WARNING",
        "MAX_WORKERS": "2",
        "QUEUE_SIZE": "17",
        "MAX_CPU_PERCENT": "80",
        "MAX_MEMORY_PERCENT": "70",
        "TASK_TIMEOUT": "12",
        "HEALTH_CHECK_INTERVAL": "7",
    }
    with worker(tmp_path, **settings) as node:
        assert node.url == f"http://127.0.0.1:{port}"
        shown = node.client.get("/admin/config").json()
        expected = {
            "worker.id": "from-environment",
            "server.port": port,
            "logging.level": "WARNING",
            "executor.max_workers": 2,
            "queue.size": 17,
            "limits.max_cpu_percent": 80,
            "limits.max_memory_percent": 70,
            "limits.task_timeout": 12,
            "health.check_interval": 7,
        }
        assert {name: shown[name]["value"] for name in expected} == expected
        assert node.client.get("/health").json()["worker_id"] == "from-environment"
        assert " - INFO - " not in node.log.read_text()
        assert node.terminate() == 0


def test_a_task_module_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "broken_tasks.py").write_text("import no_such_thing\n")
    status, lines = refusal(tmp_path, modules="broken_tasks", PYTHONPATH=str(tmp_path))
    assert status == 2
    assert "broken_tasks" in lines[-1]
    assert "No module named 'no_such_thing'" in lines[-1]
    assert "Traceback" not in "".join(lines)


def test_a_task_module_that_is_not_there(tmp_path: Path) -> None:
    status, lines = refusal(tmp_path, modules="no.such.module")
    assert status == 2
    assert "'no.such.module'" in lines[-1]
    assert "No module named 'no'" in lines[-1]


def test_one_line_for_each_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text('[queue]\nsize = "many"\nlenght = 3\n')
    file = str(tmp_path / "worker.toml")
    status, lines = refusal(tmp_path, MAX_WORKERS="none", VERA_CONFIG=file)
    assert status == 2
    assert len(lines) == 3
    assert [line for line in lines if "MAX_WORKERS" in line and '"none"' in line]
    assert [line for line in lines if "queue.size" in line and ":2" in line]
    assert [line for line in lines if "lenght" in line and ":3" in line]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with taken_port() as port:
        status, lines = refusal(tmp_path, WORKER_PORT=str(port))
    assert status == 1  # which the service manager tries again
    assert lines == [f"vera-worker: cannot listen on 127.0.0.1 port {port}: Address already in use"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_store_in_memory_has_nowhere_to_keep_a_token(tmp_path: Path, host: str) -> None:
    status, lines = refusal(tmp_path, WORKER_HOST=host)
    assert status == 2
    assert len(lines) == 1
    assert "WORKER_TOKEN" in lines[0]


def test_beyond_loopback_a_token_is_made_once_and_needed(tmp_path: Path) -> None:
    tokens = set()
    for _ in range(2):
        with worker(tmp_path, WORKER_HOST="0.0.0.0", STORE_URL="sqlite:///var/t.db") as node:
            file = tmp_path / "var" / "token"
            tokens.add(file.read_text().strip())
            (token,) = tokens
            assert file.stat().st_mode & 0o777 == 0o600
            assert node.client.get("/health").status_code == 200
            assert node.client.get("/tasks").status_code == 401
            headers = {"Authorization": f"Bearer {token}"}
            assert node.client.get("/tasks", headers=headers).status_code == 200
            assert node.terminate() == 0
        assert str(file) in node.log.read_text()
        assert token not in node.log.read_text()


def test_a_token_file_is_heeded_on_loopback_too(tmp_path: Path) -> None:
    file = tmp_path / "given"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    with worker(tmp_path, VERA_AUTH__TOKEN_FILE=str(file)) as node:
        assert node.client.get("/tasks").status_code == 401
        headers = {"Authorization": "Bearer s3cret"}
        assert node.client.get("/tasks", headers=headers).status_code == 200
    file.chmod(0o644)
    status, lines = refusal(tmp_path, VERA_AUTH__TOKEN_FILE=str(file))
    assert status == 2
    assert len([line for line in lines if "open to other users" in line]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_within_its_time_whoever_hangs_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    with worker(tmp_path, VERA_SERVER__DRAIN_TIMEOUT="1", MAX_WORKERS="1") as node:
        host = host_of(node.url)
        running = start_stubborn(node)
        idle, poll, stalled, trickle = (connect(node.url) for _ in range(4))
        with idle, poll, stalled, trickle:
            get = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n"
            idle.sendall(get % (b"/health/live", host))
            assert idle.recv(4096).startswith(b"HTTP/1.1 200")
            poll.sendall(get % (f"/task/{running}?wait=300".encode(), host))
            post = b"POST /task/submit HTTP/1.1\r\nHost: %b\r\n" % host
            post += b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            stalled.sendall(post)
            trickle.sendall(post[:20])
            with node.client.stream("GET", f"/task/{running}/output?follow=1"):
                started = time.monotonic()
                node.process.send_signal(number)
                _expect_draining(node)
                assert node.process.wait(60) == 0
                took_s = time.monotonic() - started
            # Those who wait for a task are told how it stands before we hang up.
            [answer] = read_to_end(poll)
            assert answer.status == 200
            assert b'"status":"queued"' in answer.body
        assert 1.0 <= took_s < 1.0 + 2.0 + slack_s()
        eventually(lambda: not node.survivors(), slack_s(), "nothing left behind")
        log = node.log.read_text()
    assert "Traceback" not in log
    assert re.search(rf"{number.name}: draining .*\n.*put back\n.*stopped\n\Z", log)


def _expect_draining(node: WorkerProcess) -> None:
    """Watch a worker refuse new work, but live, while it lets the old work end."""
    ready = "/health/ready"
    eventually(lambda: node.client.get(ready).status_code == 503, slack_s(), "it drains")
    refused = node.client.post("/task/submit", json={"payload": {"function": "noop"}})
    assert_problem(refused, 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert node.client.get("/health/ready").status_code == 503
    assert node.client.get("/health/live").status_code == 200


def test_a_stop_lets_running_tasks_end(tmp_path: Path) -> None:
    with worker(tmp_path) as node, connect(node.url) as poll:
        task_id = start_sleeping(node, 1)
        path = f"/task/{task_id}?wait=60".encode()
        poll.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path, host_of(node.url)))
        started = time.monotonic()
        assert node.terminate() == 0
        assert time.monotonic() - started < 10
        [answer] = read_to_end(poll)
        assert b'"status":"completed"' in answer.body
        assert "Traceback" not in node.log.read_text()


@pytest.mark.parametrize(
    "numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)]
)
def test_a_second_signal_stops_at_once(
    tmp_path: Path, numbers: tuple[signal.Signals, signal.Signals]
) -> None:
    with worker(tmp_path, VERA_SERVER__DRAIN_TIMEOUT="60") as node:
        start_stubborn(node)
        node.process.send_signal(numbers[0])
        _expect_draining(node)
        started = time.monotonic()
        node.process.send_signal(numbers[1])
        assert node.process.wait(60) == 0
        assert time.monotonic() - started < 2.0 + slack_s()
        eventually(lambda: not node.survivors(), slack_s(), "nothing left behind")
        assert "Traceback" not in node.log.read_text()


def test_nobody_is_heard_after_the_stop(tmp_path: Path) -> None:
    with worker(tmp_path) as node:
        assert node.terminate() == 0
        with pytest.raises(httpx.ConnectError):
            node.client.get("/health/live")
