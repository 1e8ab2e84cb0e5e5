"""One worker for each module of these tests; none of them may make it lose its countenance."""

from collections.abc import Iterator

import pytest

from tests.support.worker_process import WorkerProcess, worker


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[WorkerProcess]:
    """Run a worker with the SETTINGS of the module, if it has any."""
    settings: dict[str, str] = getattr(request.module, "SETTINGS", {})
    with worker(tmp_path_factory.mktemp("node"), **settings) as running:
        yield running
        log = running.log.read_text()
        assert "Traceback" not in log
        assert "ERROR" not in log
        assert running.client.get("/health/live").status_code == 200
