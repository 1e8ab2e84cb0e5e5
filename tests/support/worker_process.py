"""Starts the real program, talks to it from outside, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx

#: In the environment of everything that a worker starts, so that survivors can be found.
MARK = "VERA_TEST_MARK"

#: What the variables begin with that set a worker up.
WORKER_SETTINGS = (
    "WORKER_",
    "LOG_",
    "MAX_",
    "MIN_",
    "QUEUE_",
    "TASK_",
    "HEALTH_",
    "STORE_",
    "RESULT_",
)


class WorkerProcess:
    """A running `vera-worker serve` on a free port.

    Unless told otherwise it keeps its tasks in memory, and minds nobody else's load.
    """

    def __init__(
        self,
        directory: Path,
        *,
        modules: str = "vera_executor.demo,vera_executor.demo_faults",
        python: str = sys.executable,
        **settings: str,
    ) -> None:
        self.mark = uuid.uuid4().hex
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith((*WORKER_SETTINGS, "VERA_"))
        }
        environment |= {"STORE_URL": "memory:", "TASK_MODULES": modules, MARK: self.mark}
        environment |= {"MAX_CPU_PERCENT": "100", "MAX_MEMORY_PERCENT": "100"}
        # What groups it could make here is no business of most tests: see `control_group`.
        environment |= {"VERA_EXECUTOR__CONTROL_GROUPS": "false"}
        environment |= {"WORKER_PORT": "0"} | settings
        reader, writer = os.pipe()
        self.log = directory / f"worker-{self.mark}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [python, "-m", "vera_supervisor", "serve", "--ready-fd", str(writer)],
                cwd=directory,
                env=environment,
                pass_fds=[writer],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(writer)
        with os.fdopen(reader, "rb") as ready:
            try:
                line = ready.readline()
            except BaseException:  # the time of the test is up
                self._end()
                raise
        if not line:
            self.process.wait()
            raise WorkerFailedError(self.process.returncode, self.log.read_text())
        self.url: str = json.loads(line)["url"]
        self.client = httpx.Client(base_url=self.url, timeout=100, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._end()

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        while survivors := self.survivors():  # while they are looked for, they may still fork
            for pid in survivors:
                with suppress(ProcessLookupError):  # it was about to die anyway
                    os.kill(pid, signal.SIGKILL)

    def submit(self, function: str, *args: Any, wait: float | None = None, **fields: Any) -> Any:
        """Submit a task and return the decoded answer, which must be a 2xx."""
        payload = {"function": function, "args": args, "kwargs": fields.pop("kwargs", {})}
        query = {} if wait is None else {"wait": wait}
        answer = self.client.post("/task/submit", params=query, json={"payload": payload} | fields)
        answer.raise_for_status()
        return answer.json()

    def record(self, task_id: str, wait: float = 0) -> Any:
        """Return the record of a task, once it has ended or after `wait` seconds."""
        return self.client.get(f"/task/{task_id}", params={"wait": wait}).raise_for_status().json()

    def terminate(self, timeout_s: float = 60) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def survivors(self) -> list[int]:
        """Return the pids of all processes, but the worker itself, that carry its mark."""
        return [pid for pid in marked(MARK, self.mark) if pid != self.process.pid]


class WorkerFailedError(Exception):
    """The worker did not start: its exit status and its log."""

    def __init__(self, status: int, log: str) -> None:
        super().__init__(f"exit status {status}\n{log}")
        self.status = status
        self.log = log


def marked(name: str, value: str) -> Iterator[int]:
    """Yield the pids of all live processes with `name=value` in their environment."""
    return (pid for pid, _ in marked_environments(name, value))


def marked_environments(name: str, value: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the pid and the environment of each live process with `name=value` in it.

    Read in one look, since a process may be gone before the next one.
    """
    wanted = f"{name}={value}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted in environment:
                yield int(entry.name), environment


@contextmanager
def worker(directory: Path, **settings: Any) -> Iterator[WorkerProcess]:
    """Run a worker for the length of a `with` block."""
    with WorkerProcess(directory, **settings) as running:
        yield running
