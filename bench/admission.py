"""What the CPU limit costs a flood of our own, and how well it is kept.

The flow of `bench/dispatch.py` saturates the machine, with the limit at 100 and at 90 %.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

from typing import Final

import psutil
import uvloop

from bench.dispatch import running_flow
from bench.report import Report, run

LIMIT_PERCENT: Final = 90.0
#: Twice as many as CPUs: with fewer, some are always on their way.
EXECUTORS: Final = 4
#: Some ten seconds: the gate decides four times in each.
TASKS: Final = 50_000


async def flood(max_cpu_percent: float) -> tuple[float, float]:
    """Return the tasks per second, and the percentage of the CPU that was in use."""
    async with running_flow(EXECUTORS, max_cpu_percent) as flow:
        await flow.run(TASKS // 5)
        psutil.cpu_percent()
        seen = await flow.run(TASKS)
        return seen.rate, psutil.cpu_percent()


def measure(report: Report, rounds: int) -> None:
    """Visit both limits once per round."""
    for _ in range(rounds):
        for limit in (100.0, LIMIT_PERCENT):
            rate, cpu = uvloop.run(flood(limit))
            report.add(f"limit {limit:g} %", "tasks/s", rate)
            report.add(f"CPU at {limit:g} %", "%", cpu)
    report.compare(f"limit {LIMIT_PERCENT:g} %", to="limit 100 %")


if __name__ == "__main__":
    run("admission: a flood of no-op tasks under the CPU limit", measure)
