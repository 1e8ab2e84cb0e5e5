"""A container engine for tests, in namespaces of its own, with a network of its own."""

import time
import zlib
from typing import Final

from tests.support.boxes import ROOT, Box, run

_PATIENCE_S: Final = 60


class Engine(Box):
    """The engine of this checkout: what it has built is there at the next run."""

    def __init__(self) -> None:
        name = f"vera-{zlib.crc32(str(ROOT).encode()):08x}"
        super().__init__("docker-box", ("net",), {"DOCKER_BOX_NAME": name})

    def start(self) -> None:
        """Start it, without what a run that was cut off may have left."""
        self.up("up")
        for line in self.control("env").stdout.split():
            name, is_set, value = line.partition("=")
            if is_set:
                self._environment[name] = value
        left = self.docker("ps", "--all", "--quiet").split()
        if left:
            self.docker("rm", "--force", "--volumes", *left)

    def stop(self) -> None:
        """Stop it, with all containers."""
        self.control("down", check=False)

    def run(self, command: str, *, timeout_s: float = 600, **environment: str) -> str:
        """Run a command of the shell here, in the checkout, as one does who uses that engine."""
        done = run(
            "sh", "-ec", command,
            timeout_s=timeout_s, cwd=ROOT, env=self._environment | environment,
        )  # fmt: skip
        return done.stdout.strip()

    def docker(self, *arguments: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run a docker command, which must succeed, and return what it printed."""
        done = run("docker", *arguments, timeout_s=timeout_s, env=self._environment, input=stdin)
        return done.stdout.strip()

    def client(self, container: str, script: str) -> list[str]:
        """Run a script inside the container, where a token and httpx are at hand."""
        return self.docker(
            "exec", "-i", container, "python", "-", stdin=_CLIENT + script
        ).splitlines()

    def await_health(self, container: str) -> None:
        """Wait until Docker calls the container healthy."""
        end = time.monotonic() + _PATIENCE_S
        while self.docker("inspect", "--format", "{{.State.Health.Status}}", container) != (
            "healthy"
        ):
            assert time.monotonic() < end, self.docker("logs", container)
            time.sleep(0.2)


#: What a client in the container begins with.
_CLIENT: Final = """
import httpx, json, pathlib, time
token = pathlib.Path("token").read_text().strip()
http = httpx.Client(base_url="http://127.0.0.1:5000", timeout=100)
http.headers["Authorization"] = f"Bearer {token}"

def submit(function, *args, wait=60, **fields):
    body = {"payload": {"function": function, "args": args}} | fields
    return http.post("/task/submit", params={"wait": wait}, json=body).raise_for_status().json()
"""
