"""C3, C6: the image under a real Docker engine: the original commands, locked up, soon stopped."""

import json
import re
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.boxes import ROOT, box_tests
from tests.support.engine import Engine
from tests.support.processes import slack_s
from vera_worker import __version__

pytestmark = box_tests("docker-box")

#: As little as a container can be allowed; the worker needs no more.
_LOCKED_UP: Final = (
    *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *("--health-interval=1s", "--env=TASK_MODULES=vera_executor.demo,vera_executor.demo_faults"),
    *("--env=MAX_CPU_PERCENT=100", "--env=MAX_MEMORY_PERCENT=100"),
)
#: The lines of the original design, to the letter.
_BUILD: Final = "docker build -t vera-worker:latest ."
_RUN: Final = """\
docker run -d \\
  --name vera-worker-1 \\
  -p 5000:5000 \\
  -e WORKER_ID=worker-1 \\
  -e LOG_LEVEL=INFO \\
  vera-worker:latest
"""
_ASK: Final = "curl http://localhost:5000/health"
_MOST_MB_OVER_BASE: Final = 120
_MOST_IDLE_MB: Final = 90
_GRACE_S: Final = 10  # after which Docker kills
_ORPHANS: Final = 1000

#: Every way a task can end, and what is left of it.
_LIFE: Final = """
print(submit("process_data", 1, 2, 3)["status"])
print(submit("fail", max_retries=0)["failure"]["cause"])
print(submit("hang_in_c", timeout=1, max_retries=0)["failure"]["cause"])
print(submit("segfault", max_retries=0)["failure"]["signal"])
print(submit("balloon", 300, 1, 20, max_retries=0)["failure"]["cause"])
running = submit("busy_loop", wait=0)["task_id"]
while http.get(f"/task/{running}").json()["status"] != "running":
    time.sleep(0.05)
print(http.delete(f"/task/{running}").json()["status"])
noisy = submit("print_everywhere", "hello")["task_id"]
print("hello" in http.get(f"/task/{noisy}/output").text)
lines = '{"payload": {"function": "noop"}}\\n' * 200
ndjson = {"Content-Type": "application/x-ndjson"}
answer = http.post("/tasks?wait=60", content=lines, headers=ndjson)
print(answer.text.count('"status":"completed"'))
print(submit("spawn_daemon", 600)["status"])
"""
_LITTER: Final = f"""
lines = '{{"payload": {{"function": "spawn_daemon", "args": [600]}}}}\\n' * {_ORPHANS}
ndjson = {{"Content-Type": "application/x-ndjson"}}
answer = http.post("/tasks?wait=300", content=lines, headers=ndjson, timeout=300)
print(answer.raise_for_status().text.count('"status":"completed"'))
"""
#: Prints the processes that nobody has buried for long: others end just now.
_LOOK: Final = """
def zombies():
    found = set()
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(") ")
        except OSError:  # it is gone
            continue
        if rest.split()[0] == "Z":
            found.add((name, *rest.split()[:2]))
    return found

left = zombies()
end = time.monotonic() + 30
while left and time.monotonic() < end:
    time.sleep(0.2)
    left &= zombies()
for zombie in left:
    print(*zombie)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Start an engine and build the image by the original command."""
    one = Engine()
    try:
        one.start()
        one.run(_BUILD, timeout_s=900)
        yield one
    finally:
        one.stop()


@pytest.fixture
def container(engine: Engine) -> Iterator[str]:
    """Run a worker with as few rights as there are; wait until Docker calls it healthy."""
    name = engine.docker("run", "--detach", *_LOCKED_UP, "--env=TASK_MEMORY=128MiB", "vera-worker")
    engine.await_health(name)
    yield name
    engine.docker("rm", "--force", "--volumes", name)


def test_the_commands_of_the_original_design(engine: Engine) -> None:
    engine.run(_RUN)
    try:
        answer = engine.sh(f"{_ASK} --silent --retry 60 --retry-all-errors")
        health = json.loads(answer)
        assert health["worker_id"] == "worker-1"
        assert health["active_tasks"] == 0
        # What the worker and its one executor use when there is nothing to do.
        used = engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", "vera-worker-1")
        number, unit = re.match(r"([\d.]+)([KMG]iB)", used).groups()  # type: ignore[union-attr]
        mb = float(number) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit] / 1e6
        assert mb <= _MOST_IDLE_MB, used
        assert "listening on http://0.0.0.0:5000" in engine.docker("logs", "vera-worker-1")
    finally:
        engine.docker("rm", "--force", "--volumes", "vera-worker-1")


def test_the_size_is_said_and_kept(engine: Engine) -> None:
    said = engine.run("make --silent image").splitlines()[-1]
    found = re.fullmatch(r"vera-worker:latest is (\d+) MB, (\d+) MB more than its base", said)
    assert found is not None, said
    assert int(found[2]) <= _MOST_MB_OVER_BASE


def test_what_the_image_says_of_itself(engine: Engine) -> None:
    config = json.loads(engine.docker("inspect", "vera-worker"))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert "vera-worker health" in config["Healthcheck"]["Test"][1]
    assert config["Entrypoint"][0] == "python"
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    tools = "command -v gcc cc make ld || true"
    assert engine.docker("run", "--rm", "--entrypoint", "sh", "vera-worker", "-c", tools) == ""


def test_tasks_live_and_die_in_a_locked_up_container(engine: Engine, container: str) -> None:
    assert engine.docker("exec", container, "id", "-u") == "10001"
    assert engine.client(container, _LIFE) == [
        *("completed", "exception", "timeout", "SIGSEGV", "memory", "cancelled"),
        *("True", "200", "completed"),
    ]
    assert engine.client(container, _LOOK) == []


def test_the_first_process_buries_every_orphan(engine: Engine, container: str) -> None:
    assert engine.client(container, _LITTER) == [str(_ORPHANS)]
    strangers = f"for i in $(seq {_ORPHANS}); do (true &); done"
    engine.docker("exec", container, "sh", "-c", strangers)
    assert engine.client(container, _LOOK) == []


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_stop_ends_within_the_grace_with_success(
    engine: Engine, container: str, busy: bool
) -> None:
    if busy:  # with what heeds no wish to stop
        engine.client(container, 'submit("return_late", 600, wait=0, task_id="late")')
    began = time.monotonic()
    engine.docker("stop", container)
    assert time.monotonic() - began < _GRACE_S + slack_s()
    assert engine.docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"


def test_an_accepted_task_survives_the_death_of_the_container(
    engine: Engine, container: str
) -> None:
    engine.client(container, 'submit("sleep", 0, wait=0, task_id="survivor", delay=2)')
    engine.docker("kill", container)
    engine.docker("start", container)
    engine.await_health(container)
    ask = 'print(http.get("/task/survivor?wait=30").json()["status"])'
    assert engine.client(container, ask) == ["completed"]


def test_another_port_is_no_sickness(engine: Engine) -> None:
    name = engine.docker("run", "--detach", *_LOCKED_UP, "--env=WORKER_PORT=7000", "vera-worker")
    try:
        engine.await_health(name)
    finally:
        engine.docker("rm", "--force", "--volumes", name)


def test_three_workers_by_compose_and_as_many_as_one_likes(engine: Engine) -> None:
    limits = {"WORKER_CPUS": "1", "WORKER_MEMORY": "512m", "WORKER_TOKEN": "s3cret"}
    ask = (
        "curl --silent --retry 60 --retry-all-errors -H 'Authorization: Bearer s3cret'"
        " http://localhost:{}"
    )
    try:
        engine.run("docker compose up -d", **limits)
        for number in (1, 2, 3):
            health = json.loads(engine.sh(ask.format(f"500{number}/health")))
            assert health["worker_id"] == f"worker-{number}"
        metrics = json.loads(engine.sh(ask.format("5003/metrics")))
        assert (metrics["cpu_cores"], metrics["memory_total_gb"]) == (1.0, 0.5)
        engine.run("docker compose up -d --scale worker=5", **limits)
        ids = set()
        for index in range(1, 6):
            where = engine.run(f"docker compose port --index {index} worker 5000", **limits)
            health = json.loads(engine.sh(ask.format(where.rpartition(":")[2] + "/health")))
            ids.add(health["worker_id"])
        assert len(ids) == 5
    finally:
        engine.run("docker compose down --volumes", **limits)


def test_the_watchers_are_there_when_they_are_asked_for(engine: Engine) -> None:
    def services(profile: str) -> set[str]:
        return set(engine.run(f"docker compose {profile} config --services").split())

    workers = {"worker", "worker-1", "worker-2", "worker-3"}
    assert services("") == workers
    assert services("--profile monitoring") == workers | {"prometheus", "grafana"}
    assert (ROOT / "deploy/grafana/dashboards/vera-worker.json").exists()
