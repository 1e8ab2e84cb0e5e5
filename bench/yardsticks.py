"""What this machine can do at best: functions that return one number each."""

import multiprocessing
import os
import sqlite3
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path

from bench.bare_loop import bare_loop

__all__ = ["bare_loop", "process_pool", "sqlite_commits"]

DISK = Path("/var/tmp")
"""Unlike /tmp it is not kept in memory, where a commit would cost nothing."""

ROW = b'{"function": "noop", "args": [], "kwargs": {}, "priority": "normal", "state": "queued"}'


def process_pool(tasks: int, children: int = 2) -> float:
    """Submit so many no-op tasks to a ProcessPoolExecutor, then wait for all; tasks/s."""
    with ProcessPoolExecutor(children, multiprocessing.get_context("spawn")) as pool:
        seen: set[int] = set()
        while len(seen) < children:
            # all at once: the pool starts a child only for a task that finds none idle
            first = [pool.submit(os.getpid) for _ in range(children)]
            seen.update(future.result() for future in first)
        began = time.perf_counter()
        futures = [pool.submit(noop) for _ in range(tasks)]
        wait(futures)
        elapsed = time.perf_counter() - began
        for future in futures:
            future.result()
    return tasks / elapsed


def sqlite_commits(commits: int, rows: int = 1, directory: Path = DISK) -> float:
    """Commit so many times, one after the other, WAL and synchronous=FULL; commits/s."""
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        database = sqlite3.connect(Path(folder) / "commits.db", isolation_level=None)
        try:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            database.execute("create table tasks (number integer primary key, body blob not null)")
            batch = [(ROW,)] * rows
            began = time.perf_counter()
            for _ in range(commits):
                database.execute("begin immediate")
                database.executemany("insert into tasks (body) values (?)", batch)
                database.execute("commit")
            return commits / (time.perf_counter() - began)
        finally:
            database.close()


def noop() -> None:
    """Do nothing, in a child."""
