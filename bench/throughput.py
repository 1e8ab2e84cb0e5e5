"""From a client to the results: no-op tasks over REST through the real worker and two executors.

One NDJSON batch whose answers are the records, and single submissions on keep-alive connections;
for each store, beside the bare loop of the same round.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

import os
import tempfile
from typing import Final

from bench.bare_route import SUBMIT
from bench.batch import send_batch
from bench.load import drive
from bench.report import Report, run
from bench.running_worker import Running, running_worker
from bench.yardsticks import DISK, bare_loop

TASKS: Final = 20_000
SINGLE: Final = 4_000
CONNECTIONS: Final = 16
WARM_UP: Final = 500
LINE: Final = b'{"payload": {"function": "noop", "args": [], "kwargs": {}}}\n'
MICROSECONDS: Final = 1e6
#: Stores by name; `VERA_BENCH_STORES=memory` chooses one of them.
STORES: Final = {"memory": "memory:", "sqlite": "sqlite:///{folder}/tasks.db"}


def measure(report: Report, rounds: int) -> None:
    """Visit the yardstick and each store once per round."""
    chosen = os.environ.get("VERA_BENCH_STORES", "memory,sqlite").split(",")
    for _ in range(rounds):
        report.add("bare_loop", "tasks/s", bare_loop(tasks=30_000))
        for store in chosen:
            with tempfile.TemporaryDirectory(dir=DISK) as folder:
                url = STORES[store].format(folder=folder)
                with running_worker(
                    MIN_WORKERS="2", MAX_WORKERS="2", QUEUE_SIZE="1000000", STORE_URL=url
                ) as worker:
                    measure_store(report, store, worker)
    for store in chosen:
        report.compare(f"{store}: batch", to="bare_loop")
        if store != "memory" and "memory" in chosen:
            report.compare(f"{store}: batch", to="memory: batch")
            report.compare(f"{store}: single", to="memory: single")


def measure_store(report: Report, store: str, worker: Running) -> None:
    """Send the batch, then the single ones."""
    send_batch(worker.port, "/tasks?wait=60", LINE * WARM_UP)
    supervisor, executors = worker.cpu_seconds()
    batch = send_batch(worker.port, "/tasks?wait=60", LINE * TASKS)
    supervisor_after, executors_after = worker.cpu_seconds()
    completed = sum(b'"status":"completed"' in answer for answer in batch.answers)
    if completed != TASKS:
        raise ValueError(
            f"{completed} of {TASKS} completed; the last answer: {batch.answers[-1]!r}"
        )
    report.add(f"{store}: batch", "tasks/s", TASKS / batch.elapsed_s)
    per_task = MICROSECONDS / TASKS
    report.add(f"{store}: supervisor", "µs CPU", (supervisor_after - supervisor) * per_task)
    report.add(f"{store}: executors", "µs CPU", (executors_after - executors) * per_task)
    report.add(f"{store}: client cores", "", batch.client_cpu)
    single = drive(worker.port, SUBMIT, SINGLE, CONNECTIONS, expect=202)
    report.add(f"{store}: single", "requests/s", single.rate)


if __name__ == "__main__":
    run("throughput: no-op tasks over REST, all results known to the client", measure)
