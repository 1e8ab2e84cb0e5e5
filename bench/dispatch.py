"""No-op tasks through the dispatcher and two executors, against a bare loop and a process pool.

Everything but HTTP is real: scheduler, deadlines, records in the memory store, captured output,
surroundings restored after every task, and no task sent ahead of a free executor.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

import asyncio
import itertools
import json
import os
import random
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from statistics import linear_regression
from typing import Final, NamedTuple

import anyio
import psutil
import uvloop

from bench.report import Report, run
from bench.yardsticks import bare_loop, process_pool
from vera_supervisor import config as configuration
from vera_supervisor.clock import SystemClock
from vera_supervisor.config import Config
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.host import Host
from vera_supervisor.housekeeping import Pulse
from vera_supervisor.journal import Journal
from vera_supervisor.metrics import Metrics
from vera_supervisor.parts import code_on_trial, policy
from vera_supervisor.scheduling.events import Submitted
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_supervisor.store.memory import MemoryStore
from vera_supervisor.supervisor import executors
from vera_worker.tasks import Priority, Record, Task

EXECUTORS: Final = 2
#: So many tasks are submitted and have not ended, at any time.
UNENDED: Final = 100
WARM_UP_TASKS: Final = 2_000
TASKS: Final = 20_000
#: Few enough for the store to be full, and to forget a task for each that ends, from early on.
STORE_BYTES: Final = 4 << 20
MEMORY_STEPS: Final = 10
MEMORY_STEP_TASKS: Final = 10_000
#: The slope is taken over the last steps: in the first ones the store fills.
STEPS_OF_SLOPE: Final = 7
MICROSECONDS: Final = 1e6
MEBIBYTE: Final = 1 << 20
PAYLOAD: Final = b'{"function": "noop", "args": [], "kwargs": {}}'


class Seen(NamedTuple):
    """What one flow of tasks showed."""

    rate: float
    #: Seconds for each task.
    parent_cpu_s: float
    children_cpu_s: float


class Flow(Journal):
    """A dispatcher with a constant number of tasks in it: each one that ends brings the next."""

    dispatcher: Dispatcher

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._unsubmitted = 0
        self._unended = 0
        self._done = asyncio.Event()

    async def run(self, tasks: int) -> Seen:
        """Pass so many tasks through."""
        self._unsubmitted = self._unended = tasks
        self._done.clear()
        cpu, children, began = time.process_time(), _children_cpu_s(), time.perf_counter()
        for _ in range(min(UNENDED, tasks)):
            self._submit()
        await self._done.wait()
        return Seen(
            tasks / (time.perf_counter() - began),
            (time.process_time() - cpu) / tasks,
            (_children_cpu_s() - children) / tasks,
        )

    def ended(self, task_id: str, record: Record | None = None) -> None:
        """Put the next one in."""
        super().ended(task_id, record)
        self._unended -= 1
        if self._unsubmitted:
            self._submit()
        elif not self._unended:
            self._done.set()

    def _submit(self) -> None:
        self._unsubmitted -= 1
        task = Task(
            task_id=f"task-{next(self._numbers)}",
            function="noop",
            payload=PAYLOAD,
            priority=Priority.NORMAL,
            timeout_s=30.0,
            queued_at=time.time(),
        )
        self.dispatcher.post(Submitted(task))


@asynccontextmanager
async def running_flow(
    number: int = EXECUTORS, max_cpu_percent: float | None = None
) -> AsyncIterator[Flow]:
    """Start a dispatcher with so many executors, warm; it heeds the CPU limit, if one is given."""
    config = Config(
        limits=configuration.Limits(max_cpu_percent=max_cpu_percent or 100.0),
        executor=configuration.Executor(min_workers=number, max_workers=number),
        tasks=configuration.Tasks(modules=("vera_executor.demo",)),
    )
    clock, flow = SystemClock(), Flow()
    store = MemoryStore(result_ttl_s=config.store.result_ttl, max_bytes=STORE_BYTES)
    scheduler = Scheduler(policy(config), random.Random(1))
    metrics = Metrics()
    flow.dispatcher = Dispatcher(scheduler, store, flow, metrics, clock)
    async with (
        executors(config, flow.dispatcher, partial(code_on_trial, None), metrics) as (pool, _),
        anyio.create_task_group() as group,
    ):
        await flow.run(WARM_UP_TASKS)
        if max_cpu_percent is not None:
            group.start_soon(Pulse(Host(), flow.dispatcher, clock, pool).run)
        yield flow
        group.cancel_scope.cancel()


async def dispatch(tasks: int) -> Seen:
    """Pass so many no-op tasks through two executors."""
    async with running_flow() as flow:
        return await flow.run(tasks)


async def memory() -> list[tuple[int, int]]:
    """Return how many bytes this process holds after how many tasks, step by step."""
    steps: list[tuple[int, int]] = []
    async with running_flow() as flow:
        for step in range(1, MEMORY_STEPS + 1):
            await flow.run(MEMORY_STEP_TASKS)
            steps.append((step * MEMORY_STEP_TASKS, _resident_bytes()))
    return steps


def measure(report: Report, rounds: int) -> None:
    """Visit the yardsticks and the dispatcher once per round; then look at the memory, once."""
    for _ in range(rounds):
        report.add("bare_loop", "tasks/s", bare_loop(tasks=30_000))
        report.add("process_pool", "tasks/s", process_pool(tasks=5_000))
        seen = _dispatch_apart(TASKS)
        report.add("dispatch", "tasks/s", seen.rate)
        report.add("parent per task", "µs CPU", seen.parent_cpu_s * MICROSECONDS)
        report.add("children per task", "µs CPU", seen.children_cpu_s * MICROSECONDS)
    report.compare("dispatch", to="bare_loop")
    report.compare("dispatch", to="process_pool")
    steps = uvloop.run(memory())
    for tasks, resident in steps:
        report.add(f"parent after {tasks:,} tasks", "MiB", resident / MEBIBYTE)
    slope, _ = linear_regression(*zip(*steps[-STEPS_OF_SLOPE:], strict=True))
    report.add("parent grows", "bytes/task", slope)


def _dispatch_apart(tasks: int) -> Seen:
    """Do so in a process of its own, as a supervisor has it; bare_loop says why that matters."""
    script = (
        "import json, uvloop; from bench.dispatch import dispatch; "
        f"print(json.dumps(uvloop.run(dispatch({tasks}))))"
    )
    command = [sys.executable, "-c", script]
    return Seen(*json.loads(subprocess.check_output(command, cwd=Path(__file__).parents[1])))


def _children_cpu_s() -> float:
    children = psutil.Process().children(recursive=True)
    return sum(child.cpu_times().user + child.cpu_times().system for child in children)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    run("dispatch: no-op tasks through two executors", measure)
