"""What a worker shows of itself: no secret (A5), no series by clients' words (A6), no port (S7)."""

import json
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.processes import await_pool, command_line
from tests.support.worker_process import MARK, marked_environments, worker

pytestmark = pytest.mark.system

#: A flag in /proc/net/unix.
_LISTENS = "00010000"
SECRETS = ("C4nary-env-0123456789", "C4nary-list-0123456789", "C4nary-wrong-0123456789")
ENV, LISTED, WRONG = SECRETS


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_no_secret_is_where_somebody_could_read_it(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ci submit,read {LISTED}\n")
    tokens.chmod(0o600)
    settings = {
        "WORKER_TOKEN": ENV,
        "VERA_AUTH__TOKENS_FILE": str(tokens),
        "LOG_LEVEL": "DEBUG",
        "STORE_URL": "sqlite:///var/tasks.db",
    }
    seen: dict[str, str] = {}
    with worker(tmp_path, **settings) as node:
        for secret in SECRETS:
            for method, path in (
                ("GET", f"/tasks?token={secret}"), ("GET", f"/task/{secret}"),
                ("GET", "/functions"), ("GET", "/admin/config"), ("POST", "/admin/reload"),
                ("GET", "/metrics"), ("GET", "/metrics/prometheus"), ("PUT", "/"),
                ("POST", "/task/submit"),
            ):  # fmt: skip
                answer = node.client.request(method, path, headers=bearer(secret))
                # What a client puts into a path itself comes back to that client alone.
                seen[f"{method} {path} {secret}"] = answer.text if secret not in path else ""
        for function in ("noop", "fail", "kill_self", "print_everywhere"):
            body = {"payload": {"function": function, "args": ["x"] * (function[0] in "pf")}}
            node.client.post("/task/submit?wait=30", json=body, headers=bearer(LISTED))
        for pid, environment in marked_environments(MARK, node.mark):
            seen[f"arguments of {pid}"] = command_line(pid).decode()
            if pid != node.process.pid:
                seen[f"environment of {pid}"] = str(environment)
        show = [sys.executable, "-m", "vera_supervisor", "config", "show"]
        shown = subprocess.run(
            show, env=os.environ | settings, capture_output=True, text=True, check=True
        )
        seen["config show"] = shown.stdout + shown.stderr
        assert node.terminate() == 0
        seen["log"] = node.log.read_text()
        for file in (tmp_path / "var").iterdir():
            seen[str(file)] = file.read_bytes().decode("latin-1")
    assert len(seen) > 30
    found = [where for where, text in seen.items() if any(secret in text for secret in SECRETS)]
    assert found == []


def test_what_clients_choose_makes_no_series(tmp_path: Path) -> None:
    with worker(tmp_path, QUEUE_SIZE="5000", MAX_WORKERS="1") as node:

        def series() -> set[str]:
            lines = node.client.get("/metrics/prometheus").text.splitlines()
            return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}

        def use(word: str, count: int) -> None:
            lines: list[dict[str, Any]] = []
            for name in (f"{word}{i}" for i in range(count)):
                payload = {"function": "echo", "args": [name]}
                lines.append(
                    {"task_id": name, "tags": [name], "metadata": word} | {"payload": payload}
                )
                lines.append({"payload": {"function": name}})
            body = "\n".join(map(json.dumps, lines)).encode()
            headers = {"content-type": "application/x-ndjson", "user-agent": word}
            node.client.post("/tasks?wait=60", content=body, headers=headers).raise_for_status()
            for path in (
                f"/{word}",
                f"/task/{word}",
                f"/tasks?function={word}",
                f"/tasks?{word}=1",
            ):
                node.client.get(path)
            node.client.request(word.upper(), "/")

        use("first", 1)
        before = series()
        assert len(before) > 30
        use("other", 300)
        assert series() == before
        assert "other" not in "".join(before)


def test_nothing_listens_but_what_is_configured(tmp_path: Path) -> None:
    with worker(tmp_path, MIN_WORKERS="2") as node:
        node.submit("noop", wait=60)
        await_pool(node, 2)
        parent = psutil.Process(node.process.pid)
        tree = [parent, *parent.children(recursive=True)]
        assert len(tree) > 2
        inet = {
            (each.laddr.ip, each.laddr.port)
            for process in tree
            for each in _connections(process)
            if each.status == psutil.CONN_LISTEN or each.type.name == "SOCK_DGRAM"
        }
        parts = urlsplit(node.url)
        assert inet == {(parts.hostname, parts.port)}
        ours = {link for each in tree for link in _descriptors(each.pid)}
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            _, _, _, flags, _, _, inode, *path = line.split()
            if flags == _LISTENS and f"socket:[{inode}]" in ours:
                # Where the fork server is asked for executors; the child knows no other way.
                directory = Path(path[0]).parent
                assert directory.name.startswith("pymp-")
                assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("inet")
    except psutil.NoSuchProcess:  # what it had is closed
        return []


def _descriptors(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # it may be gone
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # so may this one
                found.add(os.readlink(entry.path))
    return found
