"""What functions use is measured, shown, and known to the next run of the worker."""

import os
import stat
from pathlib import Path
from typing import Any

from tests.support.worker_process import WorkerProcess
from vera_supervisor.habits_file import habits_file, read_habits, write_habits
from vera_supervisor.scheduling.habits import Habit


def usage(node: WorkerProcess, function: str) -> Any:
    listed = node.client.get("/functions").json()["functions"]
    (found,) = [each["usage"] for each in listed if each["name"] == function]
    return found


def test_what_a_function_uses_is_known_after_a_restart(tmp_path: Path) -> None:
    store = {"STORE_URL": "sqlite:///tasks.db"}
    with WorkerProcess(tmp_path, **store) as node:
        assert usage(node, "balloon") is None
        task = {"kwargs": {"megabytes": 60, "hold_s": 0.05}}
        assert node.submit("balloon", wait=60, **task)["status"] == "completed"
        measured = usage(node, "balloon")
        assert measured["attempts"] == 1
        assert 60 < measured["peak_memory_mb"] < 120
        assert measured["duration_s"] > 0.05
        assert node.terminate() == 0
    with WorkerProcess(tmp_path, **store) as node:
        assert usage(node, "balloon") == measured


def test_a_damaged_file_is_left_out(tmp_path: Path) -> None:
    file = habits_file(tmp_path / "tasks.db")
    assert file.name == "tasks.db.habits.json"
    assert read_habits(file) == {}
    kept = {"work": Habit(3, 1.5, 0.5, 2.0)}
    write_habits(file, kept)
    assert read_habits(file) == kept
    file.write_bytes(file.read_bytes()[:-3])
    assert read_habits(file) == {}


def test_the_file_is_private_and_no_link_in_its_way_is_followed(tmp_path: Path) -> None:
    file, others = habits_file(tmp_path / "tasks.db"), tmp_path / "others"
    others.write_text("precious")
    (tmp_path / "tasks.db.habits.json.new").symlink_to(others)
    before = os.umask(0)
    try:
        write_habits(file, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (read_habits(file), file.is_symlink()) == ({}, False)
    assert others.read_text() == "precious"
