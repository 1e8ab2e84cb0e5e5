"""Workers for the tests of isolation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.worker_process import WorkerProcess, worker

KILL_GRACE_S = 0.3
SETTINGS = {
    "modules": "vera_executor.demo,vera_executor.demo_faults,isolation_tasks",
    "PYTHONPATH": str(Path(__file__).parent),
    "PYTHONUNBUFFERED": "",  # it would unbuffer C as well
    "VERA_LIMITS__KILL_GRACE": str(KILL_GRACE_S),
    "VERA_LIMITS__CRASH_RETRIES": "0",
    "VERA_LIMITS__MAX_RESULT": "1MiB",
    "VERA_LIMITS__MAX_OUTPUT": "64KiB",
    "VERA_STORE__MAX_BYTES": "2MiB",
    "VERA_SERVER__EVENT_HISTORY": "100",
    "MAX_WORKERS": "2",
    "MIN_WORKERS": "2",
}


class StartWorker:
    """Starts a worker that ends with the test; takes settings as in the environment."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[WorkerProcess] = []

    def __call__(self, **settings: str) -> WorkerProcess:
        self._running.append(WorkerProcess(self._directory, **(SETTINGS | settings)))
        return self._running[-1]

    def end(self) -> None:
        for running in self._running:
            running.__exit__()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    starter = StartWorker(tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """Return a worker that all tests of a module use: each must leave it as good as new."""
    with worker(tmp_path_factory.mktemp("worker"), **SETTINGS) as running:
        yield running
