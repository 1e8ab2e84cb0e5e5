"""Clients with tokens of their own take turns: one that floods delays the others by little (O4)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
FLOOD, FEW = 400, 10


def test_ten_tasks_do_not_wait_for_a_flood_of_another_client(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("loud admin l0ud\nquiet admin qu1et\n")
    tokens.chmod(0o600)
    gate = tmp_path / "gate"
    settings = {"MAX_WORKERS": "1", "QUEUE_SIZE": str(2 * FLOOD), "PYTHONPATH": str(ROOT)}
    modules = "vera_executor.demo,tests.system.waiting_tasks"
    with WorkerProcess(
        tmp_path, modules=modules, VERA_AUTH__TOKENS_FILE=str(tokens), **settings
    ) as node:
        node.client.headers["authorization"] = "Bearer qu1et"

        def send(token: str, function: str, *args: Any, count: int = 1) -> list[Any]:
            line = json.dumps({"payload": {"function": function, "args": args}, "tags": [token]})
            headers = {
                "authorization": f"Bearer {token}",
                "content-type": "application/x-ndjson",
            }
            answer = node.client.post("/tasks", content="\n".join([line] * count), headers=headers)
            return [json.loads(line) for line in answer.text.splitlines()]

        def started(token: str) -> list[str]:
            """Return when the tasks of a client started, in order."""
            page = node.client.get("/tasks", params={"tag": token, "limit": 1000}).json()
            return sorted(record["started_at"] for record in page["tasks"])

        # All stand in the line before the first of them starts.
        send("l0ud", "wait_for_file", str(gate))
        last = send("l0ud", "noop", count=FLOOD)[-1]["task_id"]
        send("qu1et", "noop", count=FEW)
        gate.touch()
        assert node.record(last, wait=60)["status"] == "completed"
        before = [at for at in started("l0ud") if at < started("qu1et")[-1]]
        assert len(before) <= 2 * FEW, "they take turns"
