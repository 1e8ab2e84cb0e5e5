"""Runs the writer process under strace: to see in which order it does things, and to hurt it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from tests.store import writer_process
from vera_supervisor.store.protocol import Query
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_worker.tasks import Record

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 60


class Told(NamedTuple):
    """What a writer process said before it ended, or was ended."""

    status: int
    added: set[str]
    ended: set[str]
    refused: set[str]
    errors: str


def write_traced(
    path: Path,
    *options: str,
    tasks: int = 8,
    at_a_time: int = 2,
    synchronous: str = "as it is",
) -> Told:
    """Write tasks to a database under strace with these options."""
    command = ["strace", "-f", *options, sys.executable, writer_process.__file__]
    ran = subprocess.run(
        [*command, str(path), str(tasks), str(at_a_time), synchronous],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    said: dict[str, set[str]] = {"added": set(), "ended": set(), "refused": set()}
    for line in ran.stdout.splitlines():
        word, _, task_id = line.partition(" ")
        said[word].add(task_id)
    return Told(ran.returncode, said["added"], said["ended"], said["refused"], ran.stderr)


def records_in(path: Path) -> dict[str, Record]:
    """Open a database as a worker does at its start; return what it holds, by id."""

    async def read() -> dict[str, Record]:
        store = SqliteStore(path, result_ttl_s=1e9, max_bytes=1 << 30)
        await store.open()
        try:
            page = await store.page(Query(limit=1000))
            return {record.task.task_id: record for record in page.records}
        finally:
            await store.close()

    return asyncio.run(read())


def assert_kept(path: Path, told: Told) -> None:
    """Assert that a database has all that its writer was told it has."""
    records = records_in(path)
    assert told.added <= records.keys()
    assert told.ended <= {task_id for task_id, record in records.items() if record.ended}
    numbers = sorted(record.number for record in records.values())
    assert len(set(numbers)) == len(numbers)
