"""What an earlier run left running is dead before the next one starts anything."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vera_supervisor.survivors import MARK, end_survivors

SLEEPER = "import sys, time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    """A daemon of a task on tasks.db, and one on another database."""
    monkeypatch.setenv(MARK, "")  # and restore it
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SLEEPER],
            env=os.environ | {MARK: str(tmp_path / name)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for name in ("tasks.db", "other.db")
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_survivors_are_gone_and_those_of_others_live(
    left: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    ours, others = left
    assert end_survivors(tmp_path / "tasks.db") == 1
    assert ours.wait(60) == -9
    assert others.poll() is None


def test_what_this_run_starts_bears_its_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, "")
    monkeypatch.chdir(tmp_path)
    assert end_survivors(Path("var/tasks.db")) == 0
    assert os.environ[MARK] == str(tmp_path / "var/tasks.db")
