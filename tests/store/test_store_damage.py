"""A damaged database is refused, or all is there: none loses a task without a word (D13)."""

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.makers import make_task
from tests.store.stories import BOOM, KILOBYTE, Writer
from tests.store.traced import records_in
from tests.support.rounds import rounds
from vera_supervisor.store.protocol import Query, StoreUnavailable
from vera_supervisor.store.sqlite.store import SqliteStore
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record

_TASKS: Final = 12


async def fill(path: Path, kept: Path) -> dict[str, Record]:
    """Write tasks in all states; copy the files as a kill would leave them; return the records."""
    store = SqliteStore(path, result_ttl_s=1e9, max_bytes=1 << 30)
    await store.open()
    writer = Writer(store)
    for number in range(_TASKS):
        name = f"task-{number}"
        writer.add(make_task(name, payload=KILOBYTE * (number % 4), tags=("x",)))
        writer.start(name)
        if number % 3 == 0:
            writer.finish(name, result=b"1" * 3000, output=b"said")
        elif number % 3 == 1:
            writer.requeue(name, output=KILOBYTE * 3)
        await writer.settled()
        if number == _TASKS // 2:  # the first half is in the database, the rest in its log
            await store._ask(lambda writer: writer._database.checkpoint())
    writer.finish("task-1", status=Status.FAILED, result=None, failure=BOOM)
    await writer.settled()
    shutil.copytree(path.parent, kept)
    page = await store.page(Query(limit=100))
    await store.close()
    return {record.task.task_id: record for record in page.records}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Record]]:
    """Return a directory as a killed worker leaves it, and what is in it."""
    directory = tmp_path_factory.mktemp("store")
    records = asyncio.run(fill(directory / "alive" / "tasks.db", directory / "killed"))
    return directory / "killed", records


def survives(directory: Path, records: dict[str, Record]) -> bool:
    """Open a store; False: it refuses, and says so; it has everything otherwise."""
    try:
        found = records_in(directory / "tasks.db")
    except StoreUnavailable:
        return False
    assert found == records
    return True


def test_a_store_that_was_killed_has_everything(
    killed: tuple[Path, dict[str, Record]], tmp_path: Path
) -> None:
    files, records = killed
    directory = shutil.copytree(files, tmp_path / "copy")
    assert (directory / "tasks.db-wal").stat().st_size > 0
    assert len(records) == _TASKS
    assert survives(directory, records)


@rounds(40, 2000)
@pytest.mark.parametrize("name", ["tasks.db", "tasks.db-wal"])
@pytest.mark.parametrize("kind", ["bit", "zeros", "cut"])
def test_what_is_altered_or_cut_off_is_noticed(
    killed: tuple[Path, dict[str, Record]], tmp_path: Path, name: str, kind: str, rounds: int
) -> None:
    files, records = killed
    refused = 0
    for seed in range(rounds):
        chance = random.Random(f"{name} {kind} {seed}")
        directory = shutil.copytree(files, tmp_path / "copy")
        content = bytearray((directory / name).read_bytes())
        place = chance.randrange(len(content))
        if kind == "bit":
            content[place] ^= 1 << chance.randrange(8)
        elif kind == "zeros":
            content[place : place + 512] = bytes(len(content[place : place + 512]))
        else:
            del content[place:]
        (directory / name).write_bytes(content)
        refused += not survives(directory, records)
        shutil.rmtree(directory)
    assert refused, "some of these cannot be survived"


@pytest.mark.parametrize(
    "lost",
    [
        "delete from large where number = 1",
        "delete from tasks where number = 1",
        "delete from head",
        "update tasks set number = 99 where number = 1",
        "update large set number = 99 where number = 1",
    ],
)
def test_a_row_or_a_part_that_is_gone_is_missed(
    killed: tuple[Path, dict[str, Record]], tmp_path: Path, lost: str
) -> None:
    files, records = killed
    directory = shutil.copytree(files, tmp_path / "copy")
    connection = sqlite3.connect(directory / "tasks.db")
    with connection:
        assert connection.execute(lost).rowcount
    connection.close()
    assert not survives(directory, records)


@pytest.mark.parametrize("name", ["tasks.db", "tasks.db-wal"])
def test_a_file_that_is_gone_is_noticed(
    killed: tuple[Path, dict[str, Record]], tmp_path: Path, name: str
) -> None:
    files, records = killed
    directory = shutil.copytree(files, tmp_path / "copy")
    (directory / name).unlink()
    assert not survives(directory, records)


def test_a_damaged_store_stays_refused(
    killed: tuple[Path, dict[str, Record]], tmp_path: Path
) -> None:
    files, records = killed
    directory = shutil.copytree(files, tmp_path / "copy")
    log = directory / "tasks.db-wal"
    log.write_bytes(log.read_bytes()[:4096])
    assert not survives(directory, records)
    assert not survives(directory, records), "the first look at it has not repaired the count"
