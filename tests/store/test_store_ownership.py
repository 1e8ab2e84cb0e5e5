"""A store belongs to one worker and to one user (U6, S6)."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.makers import make_task
from tests.store.stories import Writer, opened
from vera_supervisor.store.protocol import StoreFault, StoreUnavailable
from vera_supervisor.store.sqlite.store import SqliteStore


def make_store(path: Path) -> SqliteStore:
    return SqliteStore(path, result_ttl_s=1e9, max_bytes=1 << 30)


async def open_and_close(path: Path) -> None:
    async with opened(make_store(path)) as store:
        writer = Writer(store)
        writer.add(make_task("a"))
        assert not isinstance(await writer.last(), StoreFault)


def refusal(path: Path) -> str:
    with pytest.raises(StoreUnavailable) as refused:
        asyncio.run(open_and_close(path))
    return str(refused.value)


def test_files_and_directory_are_private_whatever_the_umask(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(make_store(tmp_path / "state" / "var" / "tasks.db")) as store:
            writer = Writer(store)
            writer.add(make_task("a"))
            await writer.settled()
            for directory in (tmp_path / "state", tmp_path / "state" / "var"):
                assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            files = list((tmp_path / "state" / "var").iterdir())
            assert {file.name for file in files} == {"tasks.db", "tasks.db-wal", "tasks.db.lock"}
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    old = os.umask(0)
    try:
        asyncio.run(story())
    finally:
        os.umask(old)


def test_files_that_others_could_read_are_closed_to_them(tmp_path: Path) -> None:
    asyncio.run(open_and_close(tmp_path / "tasks.db"))
    (tmp_path / "tasks.db").chmod(0o644)
    asyncio.run(open_and_close(tmp_path / "tasks.db"))
    assert stat.S_IMODE((tmp_path / "tasks.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_planted_link_is_refused(
    tmp_path: Path, suffix: str, link: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "victim").write_text("precious")
    link(tmp_path / "victim", tmp_path / f"tasks.db{suffix}")
    assert f"tasks.db{suffix} is " in refusal(tmp_path / "tasks.db")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("suffix", ["", "-wal", ".lock"])
def test_a_file_of_another_user_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"tasks.db{suffix}"
    file.touch()
    os.chown(file, 12345, 12345)
    assert "belongs to user 12345" in refusal(tmp_path / "tasks.db")


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "may be written by other users" in refusal(tmp_path / "tasks.db")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in refusal(tmp_path / "file" / "tasks.db")


def test_a_second_worker_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(make_store(tmp_path / "tasks.db")) as store:
            writer = Writer(store)
            with pytest.raises(StoreUnavailable, match="in use by another worker"):
                await make_store(tmp_path / "tasks.db").open()
            writer.add(make_task("a"))
            assert await writer.last() is None
            with pytest.raises(StoreUnavailable, match="in use by another worker"):
                await make_store(tmp_path / "tasks.db").open()

    asyncio.run(story())
    asyncio.run(open_second_time(tmp_path / "tasks.db"))


async def open_second_time(path: Path) -> None:
    async with opened(make_store(path)) as store:
        assert await store.get("a") is not None


def test_children_do_not_hold_the_lock(tmp_path: Path) -> None:
    async def story() -> subprocess.Popen[bytes]:
        async with opened(make_store(tmp_path / "tasks.db")):
            sleeper = [sys.executable, "-c", "input()"]
            return subprocess.Popen(sleeper, stdin=subprocess.PIPE, close_fds=False)  # noqa: ASYNC220 - over at once

    with asyncio.run(story()) as child:
        asyncio.run(open_and_close(tmp_path / "tasks.db"))
        child.communicate(b"\n")


def test_no_other_program_gets_in_and_so_none_can_hold_the_log_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(make_store(tmp_path / "tasks.db")) as store:
            writer = Writer(store)
            writer.add(make_task("a"))
            await writer.settled()
            other = sqlite3.connect(tmp_path / "tasks.db", timeout=0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("select * from tasks").fetchone()
            other.close()

    asyncio.run(story())


def test_there_is_only_one_connection_to_the_file(tmp_path: Path) -> None:
    connected: list[str] = []

    def audit(event: str, args: tuple[object, ...]) -> None:
        if event == "sqlite3.connect" and str(tmp_path) in str(args[0]):
            connected.append(str(args[0]))

    sys.addaudithook(audit)
    asyncio.run(open_and_close(tmp_path / "tasks.db"))
    assert len(connected) == 1


def test_a_store_that_is_closed_has_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(file: int) -> None:
        if os.readlink(f"/proc/self/fd/{file}").endswith(".lock"):
            reached.wait(0.05)  # nobody sets it: the lock is held a little longer
        close(file)

    close, reached = os.close, threading.Event()
    monkeypatch.setattr(os, "close", late)
    for _ in range(2):
        asyncio.run(open_and_close(tmp_path / "tasks.db"))
