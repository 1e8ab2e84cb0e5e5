"""A worker for the length of a demo: nothing of the caller's settings reaches it, nothing stays."""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from vera_client.errors import ClientError

#: What a worker reads from its environment, and what a service manager would put there for it.
_SETTING: Final = re.compile(
    r"VERA_.*|WORKER_(ID|HOST|PORT|TOKEN)|LOG_(LEVEL|FORMAT)|(MAX|MIN)_WORKERS|QUEUE_SIZE"
    r"|MAX_(CPU|MEMORY)_PERCENT|TASK_(TIMEOUT|MEMORY|MODULES)|HEALTH_CHECK_INTERVAL"
    r"|STORE_URL|RESULT_TTL|NOTIFY_SOCKET|WATCHDOG_(USEC|PID)|LISTEN_(FDS|PID|FDNAMES)"
)
#: Seconds to become ready, and to stop: far more than either takes.
START_S: Final = 30.0
STOP_S: Final = 15.0
_LOG_LINES: Final = 20


class DemoFault(ClientError):
    """The demo's own worker does not do as it should."""


class _Ready(msgspec.Struct):
    url: str


class OwnWorker:
    """A worker that runs; `stop` it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.url = url
        self._process = process
        self._log = log

    def stop(self) -> None:
        """Stop it as systemd would; raise DemoFault unless it ends well and in time."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired as error:
            raise self.fault(f"the worker did not stop within {STOP_S:g} s") from error
        if code:
            raise self.fault(f"the worker stopped with exit code {code}")

    def fault(self, what: str) -> DemoFault:
        """Return an error with the end of the worker's log."""
        return _fault(what, self._log)


def environment(caller: Mapping[str, str], cores: int, queue_size: int) -> dict[str, str]:
    """Return the worker's environment: the caller's without any setting, and the demo's own."""
    kept = {name: value for name, value in caller.items() if not _SETTING.fullmatch(name)}
    if path := caller.get("PYTHONPATH"):  # the worker starts in another directory
        kept["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return kept | {
        "WORKER_ID": "demo",
        "WORKER_HOST": "127.0.0.1",
        "STORE_URL": "memory:",
        "TASK_MODULES": "vera_executor.demo",
        "MAX_WORKERS": str(cores),
        "QUEUE_SIZE": str(queue_size),
        # What else this machine does must not hold the demo up.
        "MAX_CPU_PERCENT": "100",
        "MAX_MEMORY_PERCENT": "100",
    }


@contextmanager
def own_worker(cores: int, queue_size: int) -> Iterator[OwnWorker]:
    """Start a worker and wait until it is ready; stop it in the end, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="vera-demo-") as home:
        # An empty file of its own, lest it reads the one in /etc.
        config = Path(home, "config")
        config.mkdir()
        (config / "worker.toml").touch()
        log = Path(home, "worker.log")
        ready, told = os.pipe()
        with os.fdopen(ready, "rb") as ready_file:
            try:
                process = _started(home, environment(os.environ, cores, queue_size), told, log)
            finally:
                os.close(told)
            try:
                yield OwnWorker(process, _url(ready_file.fileno(), log), log)
            finally:
                _end(process)


def _started(home: str, env: dict[str, str], told: int, log: Path) -> subprocess.Popen[bytes]:
    command = ["-m", "vera_supervisor", "serve", "--port", "0", "--ready-fd", str(told)]
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - this very Python, and words of ours
            [sys.executable, *command],
            cwd=home,
            env=env,
            pass_fds=(told,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _url(ready: int, log: Path) -> str:
    """Return what the worker says once it is ready; the end of the pipe is its end."""
    said = b""
    while not said.endswith(b"\n"):
        if not select.select([ready], [], [], START_S)[0]:
            raise _fault(f"the worker was not ready within {START_S:g} s", log)
        piece = os.read(ready, 4096)
        if not piece:
            raise _fault("the worker failed to start", log)
        said += piece
    return msgspec.json.decode(said, type=_Ready).url


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _fault(what: str, log: Path) -> DemoFault:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return DemoFault("\n".join([f"{what}; its last words:" if lines else what, *lines]))
