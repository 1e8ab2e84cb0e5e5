"""Measure this machine's own limits: the yardsticks for every other figure of the project."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

from bench.bare_route import SUBMIT, bare_route
from bench.load import drive
from bench.report import Report, run
from bench.yardsticks import bare_loop, process_pool, sqlite_commits

CONNECTIONS = 16
BATCH_ROWS = 100
MICROSECONDS = 1e6


def measure(report: Report, rounds: int) -> None:
    """Visit every yardstick once per round."""
    for _ in range(rounds):
        report.add("bare_loop", "tasks/s", bare_loop(tasks=30_000))
        report.add("process_pool", "tasks/s", process_pool(tasks=5_000))
        with bare_route() as port:
            measure_route(report, port)
        report.add("sqlite_commit", "commits/s", sqlite_commits(2_000))
        batches = sqlite_commits(500, rows=BATCH_ROWS)
        report.add("sqlite_rows_by_100", "rows/s", batches * BATCH_ROWS)
    report.compare("process_pool", to="bare_loop")
    report.compare("bare_route", to="bare_loop")


def measure_route(report: Report, port: int) -> None:
    """Load the bare route with many connections, then time the round trip of one."""
    many = drive(port, SUBMIT, requests=2_000, connections=CONNECTIONS, expect=202)
    report.add("bare_route", "requests/s", many.rate)
    one = drive(port, SUBMIT, requests=800, connections=1, expect=202)
    report.add("bare_route_p50", "µs", one.p50_s * MICROSECONDS)
    report.add("bare_route_p99", "µs", one.p99_s * MICROSECONDS)


if __name__ == "__main__":
    run("limits of this machine", measure)
