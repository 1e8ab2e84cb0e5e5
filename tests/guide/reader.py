"""Someone who reads a section of the guide, and types what stands there."""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from tests.guide.blocks import Block, fits
from tests.support.ports import free_ports
from tests.support.worker_process import WORKER_SETTINGS

#: The ports that the guide names; here free ones stand for them, so that any machine will do.
_PORTS: Final = re.compile(r"\b500([0-3])\b")
_PATIENCE_S: Final = 120
_LISTENS: Final = b"listening on "


class Reader:
    """Runs blocks one after another in a directory of its own; `url` is a worker that is up."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._ports = [url.rpartition(":")[2], *map(str, free_ports(3))]
        self._workers = ExitStack()
        (directory / ".curlrc").write_text("fail-with-body\n")  # else an error is a success to it
        programs = _programs(directory)
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*WORKER_SETTINGS, "VERA_", "COVERAGE"))
        } | {
            "HOME": str(directory),
            "NO_PROXY": "*",
            "PATH": f"{programs}:{os.environ['PATH']}",
            "VERA_URL": url,
            "WORKER_PORT": self._ports[0],
            # Others may keep this machine busy.
            "MAX_CPU_PERCENT": "100",
            "MAX_MEMORY_PERCENT": "100",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.close()

    def move_to_own_worker(self) -> None:
        """Have port 5000 free: the section starts its own worker there."""
        self._ports[0] = str(free_ports(1)[0])
        self._environment["WORKER_PORT"] = self._ports[0]
        self._environment["VERA_URL"] = f"http://localhost:{self._ports[0]}"

    def follow(self, block: Block) -> None:
        """Do what a block says; raise AssertionError where something else comes of it."""
        code = with_ports(block.code, self._ports)
        match block.language, block.word:
            case _ if block.file:
                path = self._directory / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(code)
            case "bash", "serve":
                for line in code.splitlines():
                    self._serve(block, line)
            case "bash", "" | "fails":
                self._run(block, ["bash", "-euo", "pipefail", "-c", code])
            case "python", "":
                self._run(block, [sys.executable, "-c", code])
            case "toml", "":
                piece = self._directory / "piece.toml"
                piece.write_text(code)
                self._run(block, ["vera-worker", "config", "check", str(piece)])
            case _:
                raise AssertionError(f"{block}: nobody knows how to run this")

    def _run(self, block: Block, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        failed = done.returncode != 0
        assert failed is (block.word == "fails"), f"{block}: {done.returncode}\n{done.stdout}"
        if block.expected is not None:
            expected = with_ports(block.expected, self._ports)
            assert fits(expected, done.stdout), f"{block} prints\n{done.stdout}"

    def _serve(self, block: Block, line: str) -> None:
        """Start a worker in a terminal of its own, as it were."""
        worker = subprocess.Popen(
            ["bash", "-c", f"exec env {line}"],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        terminal = _Terminal(worker)
        self._workers.callback(terminal.close)
        terminal.said_enough.wait(_PATIENCE_S)
        assert terminal.listens, f"{block}: no worker listens\n{terminal.shown()}"


class _Terminal:
    """Shows what a worker says, and stops it when it is closed."""

    def __init__(self, worker: "subprocess.Popen[bytes]") -> None:
        self.listens = False
        #: Set once it listens, or will say no more.
        self.said_enough = threading.Event()
        self._worker = worker
        self._said: list[bytes] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def shown(self) -> str:
        return b"".join(self._said).decode()

    def _read(self) -> None:
        assert self._worker.stdout is not None
        for line in self._worker.stdout:
            self._said.append(line)
            if _LISTENS in line:
                self.listens = True
                self.said_enough.set()
        self.said_enough.set()

    def close(self) -> None:
        """Press Ctrl-C; the worker must leave in order."""
        self._worker.send_signal(signal.SIGINT)
        status = self._worker.wait(_PATIENCE_S)
        self._reading.join()
        assert self._worker.stdout is not None
        self._worker.stdout.close()
        assert status == 0, self.shown()


def _programs(directory: Path) -> Path:
    """Return where `vera-worker` is, of the very code that is tested."""
    programs = directory / ".bin"
    programs.mkdir()
    program = programs / "vera-worker"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m vera_supervisor "$@"\n')
    program.chmod(0o755)
    return programs


def with_ports(text: str, ports: list[str]) -> str:
    """Return a text of the guide with these ports instead of 5000, 5001 and so on."""
    return _PORTS.sub(lambda match: ports[int(match[1])], text)
