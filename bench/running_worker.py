"""A real worker in a process of its own, as `vera-worker serve` runs it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psutil


class Running(NamedTuple):
    """A worker that takes tasks."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the CPU time used so far: by the supervisor, by all its executors."""
        executors = self.process.children(recursive=True)
        return _used(self.process), sum(map(_used, executors))


@contextmanager
def running_worker(**settings: str) -> Iterator[Running]:
    """Run a worker with these settings of its environment; stop it with SIGTERM."""
    environment = os.environ | {
        "WORKER_PORT": "0",
        "STORE_URL": "memory:",
        "TASK_MODULES": "vera_executor.demo",
        "LOG_LEVEL": "WARNING",
        "MAX_CPU_PERCENT": "100",
        "MAX_MEMORY_PERCENT": "100",
    }
    reader, writer = os.pipe()
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [sys.executable, "-m", "vera_supervisor", "serve", "--ready-fd", str(writer)],
            cwd=directory,
            env=environment | settings,
            pass_fds=[writer],
        )
        os.close(writer)
        with os.fdopen(reader, "rb") as ready:
            line = ready.readline()
        try:
            port = int(json.loads(line)["url"].rpartition(":")[2])
            yield Running(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait()


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
