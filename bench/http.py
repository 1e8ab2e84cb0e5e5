"""Submissions over HTTP, to a real worker whose tasks really run, against a bare Quart route."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # a file named http.py must not hide the library's

from bench.answer import request
from bench.bare_route import SUBMIT, bare_route
from bench.load import drive
from bench.report import Report, run
from bench.running_worker import Running, running_worker

CONNECTIONS = 16
REQUESTS = 4_000
ROUND_TRIPS = 600
MICROSECONDS = 1e6

LIVE = request("GET", "/health/live")
SUBMIT_AND_WAIT = SUBMIT.replace(b"/task/submit ", b"/task/submit?wait=10 ", 1)


def measure(report: Report, rounds: int) -> None:
    """Drive the bare route, then the worker, once per round."""
    for _ in range(rounds):
        with bare_route() as port:
            measure_bare(report, port)
        with running_worker(MIN_WORKERS="2", MAX_WORKERS="2", QUEUE_SIZE="1000000") as worker:
            drive(worker.port, SUBMIT_AND_WAIT, 200, connections=4, expect=200)
            measure_worker(report, worker)
    report.compare("submit", to="bare route")
    report.compare("submit and run", to="bare route")
    report.compare("wait p50", to="bare p50")


def measure_bare(report: Report, port: int) -> None:
    """Find the rate and the round trip of the bare route."""
    many = drive(port, SUBMIT, REQUESTS, CONNECTIONS, expect=202)
    one = drive(port, SUBMIT, ROUND_TRIPS, connections=1, expect=202)
    report.add("bare route", "requests/s", many.rate)
    report.add("bare p50", "µs", one.p50_s * MICROSECONDS)


def measure_worker(report: Report, worker: Running) -> None:
    """Find the same of the worker, and where the time goes."""
    supervisor, executors = worker.cpu_seconds()
    many = drive(worker.port, SUBMIT, REQUESTS, CONNECTIONS, expect=202)
    # The queue is first in, first out: when this one has ended, all before it have.
    last = drive(worker.port, SUBMIT_AND_WAIT, 1, connections=1, expect=200)
    supervisor_after, executors_after = worker.cpu_seconds()
    live = drive(worker.port, LIVE, REQUESTS, CONNECTIONS, expect=200)
    one = drive(worker.port, SUBMIT_AND_WAIT, ROUND_TRIPS, connections=1, expect=200)
    report.add("submit", "requests/s", many.rate)
    report.add("submit and run", "tasks/s", REQUESTS / (many.elapsed_s + last.elapsed_s))
    report.add("wait p50", "µs", one.p50_s * MICROSECONDS)
    report.add("empty route of the worker", "requests/s", live.rate)
    per_task = MICROSECONDS / REQUESTS
    report.add("supervisor per task", "µs CPU", (supervisor_after - supervisor) * per_task)
    report.add("executors per task", "µs CPU", (executors_after - executors) * per_task)
    report.add("client cores", "", many.client_cpu)


if __name__ == "__main__":
    run("HTTP: submissions of no-op tasks against a bare route", measure)
