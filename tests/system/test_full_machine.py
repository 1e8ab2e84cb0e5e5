"""The real program on a machine that others fill: it accepts, waits, says why, goes on (L6)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.patience import until
from tests.support.processes import executors
from tests.support.worker_process import WorkerProcess


@contextmanager
def busy_cpus() -> Iterator[None]:
    """Keep every CPU that we may run on busy."""
    command = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(command) for _ in psutil.Process().cpu_affinity() or ()]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def held_back(node: WorkerProcess, reason: str) -> str:
    """Submit tasks until one stays queued for `reason`, and the metrics say so; return its id.

    What the worker itself uses may leave room for one or two before.
    """
    held: list[str] = []

    def one_is() -> bool:
        task_id = node.submit("sleep", 0)["task_id"]
        record = node.record(task_id)
        if (record["status"], record["blocked_by"]) == ("queued", reason):
            metrics = node.client.get("/metrics/prometheus").text
            if f'admission_blocked{{reason="{reason}"}} 1.0' in metrics:
                held.append(task_id)
        return bool(held)

    until(one_is)
    return held[0]


def test_while_others_use_all_cpus_nothing_starts_and_health_says_why(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text("limits.max_cpu_percent = 95\n")
    with WorkerProcess(tmp_path, VERA_CONFIG=str(file), MAX_CPU_PERCENT="") as node:

        def says_why() -> bool:
            health = node.client.get("/health").json()
            return health["status"] != "healthy" and any(
                reason.startswith("CPU use is ")
                and reason.endswith("limits.max_cpu_percent = 95 holds tasks back")
                for reason in health["reasons"]
            )

        def allow_a_full_machine() -> None:
            file.write_text("limits.max_cpu_percent = 100\n")
            node.client.post("/admin/reload").raise_for_status()

        with busy_cpus():
            until(says_why)
            task_id = held_back(node, "cpu")
            until(lambda: node.client.get("/health/ready").status_code == 503)
            assert node.client.get("/health").status_code == 200
        # Others than this test may keep the machine busy: then it goes on once that is allowed.
        if node.record(task_id, wait=10)["status"] == "queued":
            allow_a_full_machine()
        assert node.record(task_id, wait=60)["status"] == "completed"
        allow_a_full_machine()
        until(lambda: node.client.get("/health/ready").status_code == 200)


def test_memory_over_its_limit_holds_tasks_back(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, MAX_MEMORY_PERCENT="0.01") as node:
        until(lambda: node.client.get("/health").json()["status"] == "degraded")
        task_id = node.submit("sleep", 0)["task_id"]
        assert node.record(task_id)["blocked_by"] == "memory"
        assert node.client.delete(f"/task/{task_id}").status_code == 200


def test_what_a_task_needs_is_its_own_while_it_runs(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, MAX_WORKERS="2", VERA_LIMITS__CPU_CORES="1") as node:
        need = {"cpu_cores": 0.75, "memory_mb": 64}
        first = node.submit("sleep", 300, requirements=need)["task_id"]
        second = node.submit("noop", requirements=need)["task_id"]
        assert node.submit("noop", wait=60)["status"] == "completed"
        record = node.record(second)
        assert (record["blocked_by"], record["requirements"]) == ("reservation", need)
        metrics = node.client.get("/metrics/prometheus").text
        assert 'admission_blocked{reason="reservation"} 1.0' in metrics
        assert node.client.delete(f"/task/{first}").status_code == 200
        assert node.record(second, wait=60)["status"] == "completed"


def test_executors_give_way_to_the_supervisor(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path) as node:
        own = psutil.Process(node.process.pid).nice()
        assert {psutil.Process(pid).nice() - own for pid in executors(node)} == {5}
