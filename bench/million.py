"""A million queued tasks: the rate of the last ones, their weight, and the restart after SIGKILL.

The one executor is busy, so all of them wait in the queue. `VERA_BENCH_TASKS=50000` makes it quick:
the restart is then shown as what a million would take, beside that of an empty worker.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

import http.client
import json
import os
import tempfile
import time
from typing import Final

from bench.batch import send_batch
from bench.report import Report, run
from bench.running_worker import Running, running_worker
from bench.yardsticks import DISK

MILLION: Final = 1_000_000
TASKS: Final = int(os.environ.get("VERA_BENCH_TASKS", MILLION))
#: The first and the last so many are what the rates are taken from.
EDGE: Final = min(50_000, TASKS // 4)
PAYLOAD: Final = b'{"function": "noop", "args": [], "kwargs": {}}'
LINE: Final = b'{"payload": %b}\n' % PAYLOAD
#: It keeps the executor for as long as the measurement takes.
BLOCKER: Final = b'{"payload": {"function": "sleep", "args": [3600]}, "timeout": 3600}\n'
#: The first tasks open files, load modules and fill caches.
WARM_UP: Final = 1_000
KIBIBYTE: Final = 1 << 10


def measure(report: Report, rounds: int) -> None:
    """Fill a worker's queue, kill it and start it again, once per round."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=DISK) as folder:
            settings = {
                "MIN_WORKERS": "1",
                "MAX_WORKERS": "1",
                "QUEUE_SIZE": str(2 * MILLION),
                "STORE_URL": f"sqlite:///{folder}/tasks.db",
            }
            began = time.perf_counter()
            with running_worker(**settings) as worker:
                empty_s = time.perf_counter() - began
                empty = _rss(worker)
                first_waiting = measure_submissions(report, worker)
                worker.process.kill()
            began = time.perf_counter()
            with running_worker(**settings) as worker:
                grown = _rss(worker) - empty
                wait_ended(worker.port, first_waiting)
                restart_s = time.perf_counter() - began
                report.add("start of an empty worker", "s", empty_s)
                million_s = empty_s + (restart_s - empty_s) * MILLION / TASKS
                report.add("restart to first end", "s / million", million_s)
                report.add("restarted: memory over payload", "KiB/task", _over_payload(grown))
                worker.process.kill()
    report.compare("last submissions", to="first submissions")


def measure_submissions(report: Report, worker: Running) -> str:
    """Fill the queue; return the id of the first task in it."""
    send_batch(worker.port, "/tasks", BLOCKER)
    warm = send_batch(worker.port, "/tasks", LINE * WARM_UP)
    before = _rss(worker)
    report.add("first submissions", "tasks/s", _submit(worker, EDGE))
    for done in range(EDGE, TASKS - EDGE, EDGE):
        _submit(worker, min(EDGE, TASKS - EDGE - done))
    report.add("last submissions", "tasks/s", _submit(worker, EDGE))
    grown = _rss(worker) - before
    report.add("memory over payload", "KiB/task", _over_payload(grown))
    return str(json.loads(warm.answers[0])["task_id"])


def wait_ended(port: int, task_id: str) -> None:
    """Return when that task has ended."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", f"/task/{task_id}?wait=30")
        shown = json.load(connection.getresponse())
    finally:
        connection.close()
    if shown["status"] != "completed":
        raise ValueError(f"the first task of the queue is not done: {shown}")


def _submit(worker: Running, tasks: int) -> float:
    batch = send_batch(worker.port, "/tasks", LINE * tasks)
    accepted = sum(answer.startswith(b'{"code":202,') for answer in batch.answers)
    if accepted != tasks:
        raise ValueError(f"{accepted} of {tasks} accepted; the last: {batch.answers[-1]!r}")
    return tasks / batch.elapsed_s


def _over_payload(resident: int) -> float:
    return (resident / TASKS - len(PAYLOAD)) / KIBIBYTE


def _rss(worker: Running) -> int:
    return int(worker.process.memory_info().rss)


if __name__ == "__main__":
    run("a million: queued tasks in the durable store", measure)
