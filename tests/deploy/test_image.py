"""The image under a real Docker engine: locked up, healthy, soon stopped, and no zombie left."""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CHOSEN: Final = os.environ.get("VERA_DEPLOY") == "1"
#: As little as a container can be allowed; the worker needs no more.
LOCKED_UP: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
ORPHANS: Final = 200
#: What a client in the container begins with.
CLIENT: Final = """
import httpx, pathlib, sys
token = pathlib.Path("token").read_text().strip()
http = httpx.Client(base_url="http://127.0.0.1:5000", timeout=60)
http.headers["Authorization"] = f"Bearer {token}"
"""
#: Tasks that leave daemons behind, and others that die; then: which processes are left?
LITTER: Final = f"""
lines = '{{"payload": {{"function": "spawn_daemon", "args": [600]}}}}\\n' * {ORPHANS}
lines += '{{"payload": {{"function": "segfault"}}}}\\n'
ndjson = {{"Content-Type": "application/x-ndjson"}}
answer = http.post("/tasks?wait=60", content=lines, headers=ndjson).raise_for_status()
print(answer.text.count('"status":"completed"'), answer.text.count('"cause":"crashed"'))
for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
    name, _, rest = stat.read_text().rpartition(") ")
    state, parent = rest.split()[:2]
    if state == "Z":
        print(name, state, parent)
"""
SUBMIT: Final = """
task = {"payload": {"function": "sleep", "args": [0]}, "task_id": "survivor", "delay": 2}
http.post("/task/submit", json=task).raise_for_status()
"""
ASK: Final = 'print(http.get("/task/survivor?wait=30").json()["status"])'


def docker(*arguments: str, stdin: str | None = None, **environment: str) -> str:
    """Run a docker command, which must succeed, and return what it printed."""
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        input=stdin,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def run_client(container: str, script: str) -> list[str]:
    """Run a script inside the container, where a token and httpx are at hand."""
    return docker("exec", "-i", container, "python", "-", stdin=CLIENT + script).splitlines()


def await_health(container: str) -> None:
    """Wait until Docker calls the container healthy."""
    end = time.monotonic() + 60
    while docker("inspect", "--format", "{{.State.Health.Status}}", container) != "healthy":
        assert time.monotonic() < end, docker("logs", container)
        time.sleep(0.2)


def _engine() -> bool:
    if not CHOSEN or shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHOSEN, reason="needs minutes and an engine: VERA_DEPLOY=1"),
    pytest.mark.skipif(CHOSEN and not _engine(), reason="no Docker engine answers"),
]


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """Build the image under a name of its own."""
    name = f"vera-worker-test-{uuid.uuid4().hex[:12]}"
    docker("build", "--quiet", "--tag", name, str(ROOT))
    yield name
    docker("rmi", "--force", name)


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """Run a worker with as few rights as there are; wait until Docker calls it healthy."""
    modules = "TASK_MODULES=vera_executor.demo,vera_executor.demo_faults"
    no_limit = "MAX_CPU_PERCENT=100"
    name = docker("run", "--detach", *LOCKED_UP, "--env", modules, "--env", no_limit, image)
    await_health(name)
    yield name
    docker("rm", "--force", "--volumes", name)


def test_a_locked_up_container_is_healthy_and_stops_at_once_with_success(container: str) -> None:
    assert docker("exec", container, "id", "-u") == "10001"
    began = time.monotonic()
    docker("stop", container)
    assert time.monotonic() - began < 10  # after which Docker kills
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"


def test_as_the_first_process_it_leaves_no_zombie(container: str) -> None:
    ended, *zombies = run_client(container, LITTER)
    assert ended == f"{ORPHANS} 1"
    assert zombies == []


def test_an_accepted_task_survives_the_death_of_the_container(container: str) -> None:
    run_client(container, SUBMIT)
    docker("kill", container)
    docker("start", container)
    await_health(container)
    assert run_client(container, ASK) == ["completed"]


def test_the_image_holds_no_compiler_and_no_installer_of_ours(image: str) -> None:
    assert (
        docker("run", "--rm", "--entrypoint", "sh", image, "-c", "command -v gcc cc || true") == ""
    )
    config = json.loads(docker("inspect", image))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "vera-worker", "health"]


def test_the_compose_file_brings_a_worker_up_that_sees_its_own_limits() -> None:
    project = f"vera-test-{uuid.uuid4().hex[:12]}"
    compose = ("compose", "--project-name", project, "--file", str(ROOT / "deploy/compose.yaml"))
    environment = {"WORKER_PORT": "127.0.0.1:0", "WORKER_CPUS": "1", "WORKER_MEMORY": "512m"}
    try:
        docker(*compose, "up", "--build", "--wait", **environment)
        worker = docker(*compose, "ps", "--quiet")
        script = 'm = http.get("/metrics").json(); print(m["cpu_cores"], m["memory_total_gb"])'
        assert run_client(worker, script) == ["1.0 0.5"]
    finally:
        docker(*compose, "down", "--volumes", **environment)
