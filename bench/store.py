"""Tasks added, started and finished in the durable store, and in none, and bare commits.

Nothing but the store: what is acknowledged brings the next write, as if executors took no time.
Each task is acknowledged twice, so it is in two commits.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

import asyncio
import itertools
import tempfile
import time
import uuid
from functools import partial
from typing import Final, NamedTuple

import uvloop

from bench.report import Report, run
from bench.yardsticks import DISK, sqlite_commits
from vera_supervisor.scheduling.effects import AddTask, FinishTask, StartAttempt
from vera_supervisor.store.memory import MemoryStore
from vera_supervisor.store.protocol import Query, Store, StoreFault
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_worker.lifecycle import Status
from vera_worker.tasks import Priority, Record, Spent, Task

TASKS: Final = 20_000
#: So many tasks are in the store and have not ended, at any time.
UNENDED: Final = (1, 100, 1000)
STORE_BYTES: Final = 256 << 20
MICROSECONDS: Final = 1e6
PAYLOAD: Final = b'{"function": "noop", "args": [], "kwargs": {}}'


class Seen(NamedTuple):
    """What one flow of tasks showed."""

    rate: float
    #: Seconds for each task, of both threads.
    cpu_s: float
    #: Tasks for each commit.
    shared: float


class Flow:
    """A constant number of tasks in a store: each one that ends brings the next."""

    store: Store

    def __init__(self) -> None:
        self.commits = 0
        self._unadded = 0
        self._unended = 0
        self._numbers = itertools.count()
        self._done = asyncio.Event()

    async def run(self, tasks: int, unended: int) -> Seen:
        """Pass so many tasks through."""
        self._unadded = self._unended = tasks
        self._done.clear()
        self._unadded -= unended
        commits, cpu, began = self.commits, time.process_time(), time.perf_counter()
        for _ in range(unended):
            self._add()
        await self._done.wait()
        return Seen(
            tasks / (time.perf_counter() - began),
            (time.process_time() - cpu) / tasks,
            tasks / max(1, self.commits - commits),
        )

    def committed(self, _: float) -> None:
        """Count a commit."""
        self.commits += 1

    def _add(self) -> None:
        task = Task(
            task_id=str(uuid.uuid4()),
            function="noop",
            payload=PAYLOAD,
            priority=Priority.NORMAL,
            timeout_s=30.0,
            queued_at=time.time(),
        )
        self.store.add(AddTask(task, 0.0, None), partial(self._added, task.task_id))

    def _added(self, task_id: str, answer: StoreFault | Record | None) -> None:
        assert answer is None, answer
        now = time.time()
        self.store.start(StartAttempt(task_id, 1, Spent(), acknowledge=False), now, _ignore)
        finish = FinishTask(task_id, 1, Status.COMPLETED, b"null", None, b"")
        self.store.finish(finish, now, self._finished)

    def _finished(self, answer: StoreFault | None) -> None:
        assert answer is None, answer
        self._unended -= 1
        if self._unadded:
            self._unadded -= 1
            # Not at once: the memory store acknowledges before the call returns.
            asyncio.get_running_loop().call_soon(self._add)
        elif not self._unended:
            self._done.set()


def _ignore(_: StoreFault | None) -> None:
    """Nobody waits for a start."""


async def memory() -> Seen:
    """Pass the tasks through the memory store."""
    flow = Flow()
    flow.store = MemoryStore(result_ttl_s=86400.0, max_bytes=STORE_BYTES)
    return await flow.run(TASKS, 100)


async def durable(report: Report) -> None:
    """Pass the tasks through the durable store, with few and with many at a time; open it again."""
    with tempfile.TemporaryDirectory(dir=DISK) as folder:
        path = Path(folder) / "tasks.db"
        for unended in UNENDED:
            flow = Flow()
            flow.store = store = SqliteStore(
                path, result_ttl_s=86400.0, max_bytes=STORE_BYTES, on_commit=flow.committed
            )
            await store.open()
            seen = await flow.run(TASKS if unended > 1 else TASKS // 20, unended)
            await store.close()
            report.add(f"durable, {unended} at once", "tasks/s", seen.rate)
            report.add(f"durable, {unended}: CPU", "µs/task", seen.cpu_s * MICROSECONDS)
            report.add(f"durable, {unended}: share", "tasks/commit", seen.shared)
        store = SqliteStore(path, result_ttl_s=86400.0, max_bytes=STORE_BYTES)
        began = time.perf_counter()
        await store.open()
        report.add("inspection", "tasks/s", TASKS * 2 / (time.perf_counter() - began))
        await measure_reads(report, store)
        await store.close()


async def measure_reads(report: Report, store: Store) -> None:
    """Look for what is not there: every row is looked at."""
    began = time.perf_counter()
    await store.page(Query(function="no such function"))
    report.add("search", "rows/s", TASKS * 2 / (time.perf_counter() - began))
    began = time.perf_counter()
    await store.page(Query(limit=100))
    report.add("page of 100", "µs", (time.perf_counter() - began) * MICROSECONDS)


def measure(report: Report, rounds: int) -> None:
    """Visit the yardsticks and the store once per round."""
    for _ in range(rounds):
        report.add("bare commit", "commits/s", sqlite_commits(1_000))
        seen = uvloop.run(memory())
        report.add("memory", "tasks/s", seen.rate)
        report.add("memory: CPU", "µs/task", seen.cpu_s * MICROSECONDS)
        uvloop.run(durable(report))
    for unended in UNENDED:
        report.compare(f"durable, {unended} at once", to="bare commit")
    report.compare("durable, 100 at once", to="memory")
    report.compare("durable, 1000 at once", to="memory")


if __name__ == "__main__":
    run("store: tasks added, started and finished", measure)
