"""Executors of a real worker: how soon one is ready, how soon there are four, and what one holds.

An executor is forked from the warm fork server, which has the task modules loaded. The memory that
it shares with that counts in RSS, in equal parts in PSS, and not at all in USS.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

import re
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx
import psutil

from bench.report import Report, run
from bench.running_worker import Running, running_worker

STARTS: Final = 20
MOST: Final = 4
MILLISECONDS: Final = 1e3
MEBIBYTE: Final = 2**20
PATIENCE_S: Final = 30.0
#: Long enough for all four to be busy for a while.
BACKLOG: Final = [{"payload": {"function": "sleep", "args": [0.1]}} for _ in range(40)]
NOOP: Final = {"payload": {"function": "noop"}}


def measure(report: Report, rounds: int) -> None:
    """Start workers that grow, and one whose executors are replaced after every task."""
    for _ in range(rounds):
        with running_worker(MIN_WORKERS="1", MAX_WORKERS="1", VERA_EXECUTOR__MAX_TASKS="1") as one:
            measure_starts(report, one)
        with running_worker(MIN_WORKERS="1", MAX_WORKERS=str(MOST)) as growing:
            measure_memory(report, growing)
            measure_growth(report, growing)


def measure_starts(report: Report, worker: Running) -> None:
    """Find how long an executor takes to be ready, when nothing else starts."""
    with client(worker) as http:
        for _ in range(STARTS):
            http.post("/task/submit?wait=30", json=NOOP).raise_for_status()
        until(lambda: serving(http) == 1)
        used = fork_server(worker).cpu_times()
        text = http.get("/metrics/prometheus").text
    total, count = (
        float(re.findall(rf"^executor_start_seconds_{what}\S* (\S+)", text, re.MULTILINE)[0])
        for what in ("sum", "count")
    )
    report.add("an executor is ready after", "ms", total / count * MILLISECONDS)
    lives = (used.children_user + used.children_system) / (count - 1)  # the last one lives
    report.add("its CPU time, with one task and its end", "ms", lives * MILLISECONDS)


def measure_growth(report: Report, worker: Running) -> None:
    """Find how soon a backlog has four executors instead of one."""
    with client(worker) as http:
        until(lambda: serving(http) == 1)
        begun = time.perf_counter()
        http.post("/tasks?on_full=reject", json=BACKLOG).raise_for_status()
        until(lambda: serving(http) == MOST)
        took_s = time.perf_counter() - begun
    report.add(f"1 to {MOST} executors after", "ms", took_s * MILLISECONDS)


def measure_memory(report: Report, worker: Running) -> None:
    """Find what an executor holds that has had a task and is idle."""
    with client(worker) as http:
        http.post("/task/submit?wait=30", json=NOOP).raise_for_status()
    server = fork_server(worker)
    held = [process.memory_full_info() for process in server.children()]
    for name in ("rss", "pss", "uss"):
        mean = statistics.mean(getattr(one, name) for one in held)
        report.add(f"idle executor, {name.upper()}", "MiB", mean / MEBIBYTE)
    report.add("fork server, USS", "MiB", server.memory_full_info().uss / MEBIBYTE)


def fork_server(worker: Running) -> psutil.Process:
    """Return the process that the executors are forked from."""
    (server,) = [process for process in worker.process.children() if process.children()]
    return server


def client(worker: Running) -> httpx.Client:
    """Return a client of the worker."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{worker.port}", timeout=PATIENCE_S, trust_env=False
    )


def serving(http: httpx.Client) -> int:
    """Return how many executors have a task or could take one."""
    executors: dict[str, int] = http.get("/health").json()["executors"]
    return executors["idle"] + executors["busy"]


def until(reached: Any) -> None:
    """Ask until it is so."""
    for _ in instants():
        if reached():
            return
    raise TimeoutError


def instants() -> Iterator[None]:
    """Yield until patience is over."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        yield


if __name__ == "__main__":
    run("Executors: how soon they are ready, and what they hold", measure)
