"""A1: what the running worker answers to generated requests is what its document says.

Schemathesis reads /openapi.json, makes requests that fit it and requests that do not, follows its
links from one operation to the next, and checks every answer: status, media type, headers, shape,
that nothing without a token is let in, and that nothing is a fault of the server.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rounds import rounds
from tests.support.worker_process import WorkerProcess

#: The more patience, the less a busy machine matters; many rounds have their own.
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TOKEN = "a-token-for-everything"
SETTINGS = {
    "WORKER_TOKEN": TOKEN,
    "QUEUE_SIZE": "100000",
    "MAX_WORKERS": "1",
    "VERA_SERVER__MAX_WAIT": "0.1",
    # It finds out what functions there are, calls them, and waits for no answer longer than 30 s.
    "modules": "vera_executor.demo",
    "TASK_TIMEOUT": "1",
    "VERA_LIMITS__MAX_TASK_TIMEOUT": "1",
    "VERA_LIMITS__KILL_GRACE": "0.1",
}
SUMMARY = re.compile(r"^  ([0-9]+) generated, ([0-9]+) passed", re.MULTILINE)


@rounds(3, 1000)
def test_the_server_does_what_its_document_says(
    node: WorkerProcess, rounds: int, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        f"--config-file={Path(__file__).with_name('schemathesis.toml')}",
        "run",
        f"{node.url}/openapi.json",
        f"--header=Authorization: Bearer {TOKEN}",
        f"--max-examples={rounds}",
        "--request-timeout=30",
        "--seed=1",
        "--no-color",
    ]
    # Its own code need not be measured, only the worker's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = SUMMARY.search(done.stdout)
    assert summary, done.stdout
    assert summary[1] == summary[2]
    assert int(summary[1]) > 400
