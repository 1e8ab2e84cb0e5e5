"""Many tasks and many deaths leave the supervisor as it was (P6, P8)."""

import http.client
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.isolation.conftest import StartWorker
from tests.support.processes import (
    Vitals,
    await_pool,
    eventually,
    executors,
    slack_s,
    strays,
)
from tests.support.rounds import rounds
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

_MIB = 1024 * 1024
_CLIENTS = 4
STALL_S = 2.0


def _semaphores() -> set[str]:
    """Return those of multiprocessing, whosesoever; other tests' are there for a moment only."""
    return {path.name for path in Path("/dev/shm").glob("sem.mp-*")}


def _semaphores_held(pid: int) -> list[str]:
    try:
        held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        held += Path(f"/proc/{pid}/maps").read_text().split()
    except OSError:
        return []
    return [name for name in held if "/sem." in name]


@rounds(30, 1000)
def test_random_kills_cause_no_stall_and_no_semaphores(
    start_worker: StartWorker, rounds: int
) -> None:
    before = _semaphores()
    worker = start_worker(VERA_LIMITS__CRASH_RETRIES="50")
    seed = random.randrange(2**32)
    rng, gaps = random.Random(seed), []
    for _ in range(rounds):
        ids = [worker.submit("sleep", 0.01)["task_id"] for _ in range(3)]
        present = executors(worker)
        if present:
            try:
                os.kill(rng.choice(present), signal.SIGKILL)
            except ProcessLookupError:
                continue
        started = time.monotonic()
        for task_id in ids:
            record = worker.record(task_id, wait=60)
            assert record["status"] == "completed", (seed, record)
        gaps.append(time.monotonic() - started)
    assert sorted(gaps)[len(gaps) // 2] < STALL_S, (seed, gaps)
    assert max(gaps) < STALL_S + slack_s(), (seed, gaps)
    assert [name for pid in worker.survivors() for name in _semaphores_held(pid)] == []
    assert _semaphores_held(worker.process.pid) == []
    eventually(lambda: _semaphores() <= before, slack_s(), "no semaphores are left")
    assert strays(worker) == []


def _flood(url: str, tasks: int) -> None:
    """Run that many tasks, and have all connections closed at the end."""
    address = url.removeprefix("http://")
    body = json.dumps({"payload": {"function": "noop", "args": [], "kwargs": {}}})
    faults: list[Exception] = []

    def send() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            for _ in range(tasks // _CLIENTS):
                headers = {"content-type": "application/json"}
                connection.request("POST", "/task/submit?wait=30", body, headers)
                assert b'"completed"' in connection.getresponse().read()
        except (OSError, AssertionError, http.client.HTTPException) as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def _crash_a_few(worker: WorkerProcess) -> None:
    for _ in range(3):
        worker.submit("kill_self", wait=60)
        await_pool(worker, 2)


@rounds(2000, 100_000)
def test_thousands_of_tasks_leave_the_supervisor_as_it_was(
    start_worker: StartWorker, rounds: int
) -> None:
    worker = start_worker(VERA_STORE__MAX_BYTES="1MiB")
    _flood(worker.url, max(1000, rounds // 20))  # more than the store remembers
    _crash_a_few(worker)
    before = Vitals.of(worker.process.pid)
    _flood(worker.url, rounds)
    _crash_a_few(worker)
    after = before

    def same() -> bool:
        nonlocal after
        after = Vitals.of(worker.process.pid)
        return after.descriptors <= before.descriptors and after.zombies <= before.zombies

    eventually(same, 5 + slack_s(), f"no more descriptors and zombies than {before}")
    # Threads come and go with the kills: a few at most, whatever the number of tasks.
    assert after.threads <= before.threads + 4
    grown = after.rss_bytes - before.rss_bytes
    # Pages come and go by the hundred, whatever the number of tasks.
    assert grown < max(1.0, rounds / 10_000) * _MIB, f"{grown} bytes in {rounds} tasks"
