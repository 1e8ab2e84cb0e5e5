"""A worker on a Unix socket: open to its user without a token, and to nobody else."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.support.worker_process import WorkerFailedError, WorkerProcess
from vera_client import AsyncClient, Client

pytestmark = pytest.mark.system


def test_clients_reach_it_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with WorkerProcess(tmp_path, VERA_SERVER__UNIX_SOCKET=str(path), WORKER_HOST="0.0.0.0") as node:
        assert node.url == f"unix:{path}"
        with Client(node.url) as client:
            assert client.run("echo", 7)["args"] == [7]
            client.drain()
            client.resume()

        async def ask() -> str:
            async with AsyncClient(node.url) as worker:
                return (await worker.submit("noop", wait=60)).status

        assert anyio.run(ask) == "completed"
        verb = [sys.executable, "-m", "vera_supervisor", "health", "--url", node.url]
        assert subprocess.run(verb, check=False, capture_output=True).returncode == 0
        log = node.log.read_text()
        assert f"by anyone on this machine from uid {os.geteuid()}: 200" in log
        assert node.terminate() == 0
        assert not path.exists()


def test_where_it_cannot_be_that_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(WorkerFailedError) as failed:
        WorkerProcess(tmp_path, VERA_SERVER__UNIX_SOCKET=str(tmp_path / "api.sock"))
    assert failed.value.status == 2
    assert len(failed.value.log.splitlines()) == 1
    assert "may be written by other users" in failed.value.log
