"""How soon a worker answers somebody who has just come, whatever else it does."""

import time

from tests.support.worker_process import WorkerProcess


def live_p99(worker: WorkerProcess, probes: int = 100) -> float:
    """Return the 99th percentile of how long /health/live takes, in seconds."""
    took = []
    for _ in range(probes):
        started = time.monotonic()
        worker.client.get("/health/live").raise_for_status()
        took.append(time.monotonic() - started)
    return sorted(took)[int(probes * 0.99) - 1]
