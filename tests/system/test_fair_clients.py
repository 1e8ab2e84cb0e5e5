"""Clients with tokens of their own take turns: one that floods delays the others by little (O4)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.system

FLOOD, FEW = 400, 10


def test_ten_tasks_do_not_wait_for_a_flood_of_another_client(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("loud admin l0ud\nquiet admin qu1et\n")
    tokens.chmod(0o600)
    settings = {"MAX_WORKERS": "1", "QUEUE_SIZE": str(2 * FLOOD)}
    with WorkerProcess(tmp_path, VERA_AUTH__TOKENS_FILE=str(tokens), **settings) as node:

        def send(count: int, token: str) -> list[Any]:
            line = json.dumps({"payload": {"function": "sleep", "args": [0.01]}})
            headers = {
                "authorization": f"Bearer {token}",
                "content-type": "application/x-ndjson",
            }
            answer = node.client.post("/tasks", content="\n".join([line] * count), headers=headers)
            return [json.loads(line) for line in answer.text.splitlines()]

        def completed() -> int:
            headers = {"authorization": "Bearer qu1et"}
            return int(node.client.get("/metrics", headers=headers).json()["tasks_completed"])

        assert {answer["status"] for answer in send(FLOOD, "l0ud")} == {"queued"}
        before = completed()
        last = send(FEW, "qu1et")[-1]["task_id"]
        headers = {"authorization": "Bearer qu1et"}
        record = node.client.get(f"/task/{last}", params={"wait": 60}, headers=headers).json()
        assert record["status"] == "completed"
        # As many of the flood, and what ended while they were sent and their end was seen.
        assert completed() - before <= 2 * FEW + FLOOD // 8
        assert completed() < FLOOD, "else the flood was over anyhow"
