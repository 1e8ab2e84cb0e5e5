"""The original design's own examples run unmodified, on the ports that they name."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.patience import until
from tests.support.worker_process import worker

pytestmark = pytest.mark.system

PORTS = (5000, 5001, 5002, 5003)
EXAMPLES = re.findall(
    r"^### ([^\n]+)\n\n```python\n(.*?)^```$",
    Path(__file__).with_name("original_examples.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


def taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the four workers that the examples talk to."""
    busy = [port for port in PORTS if taken(port)]
    if busy:
        pytest.skip(f"the examples name these ports, and others use them: {busy}")
    with ExitStack() as stack:
        for port in PORTS:
            directory = tmp_path_factory.mktemp(f"worker-{port}")
            settings = {"WORKER_PORT": str(port), "WORKER_ID": f"worker-{port}"}
            node = stack.enter_context(worker(directory, modules="vera_executor.demo", **settings))
            until(lambda n=node: n.client.get("/health").json()["status"] == "healthy")  # type: ignore[misc]
        yield


def run(code: str) -> str:
    """Run a program as a user would and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"NO_PROXY": "*"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_three_examples_are_there() -> None:
    assert [title for title, _ in EXAMPLES] == [
        "Submit Task to Worker",
        "Monitor Worker Health",
        "Load Balancing",
    ]


def test_submit_and_poll_until_completed() -> None:
    lines = run(EXAMPLES[0][1]).splitlines()
    assert lines[0].startswith("Task submitted: ")
    assert lines[-3] == "Status: completed"
    assert lines[-2].startswith("Result: {'mode': 'fast', 'count': 3, 'processed': [1, 4, 9]")
    assert lines[-1] == "Error: None"


def test_monitor_and_choose_the_least_loaded() -> None:
    # The document's later examples go on where the first one imported requests.
    printed = run("import requests\n" + EXAMPLES[1][1] + EXAMPLES[2][1])
    assert printed.count("  Status: healthy\n") == 3
    assert printed.count("  Active tasks: 0\n  Queue size: 0\n  CPU: ") == 3
    assert "ERROR" not in printed
    assert re.search(r"^Selected worker: http://localhost:500[123]$", printed, re.MULTILINE)
