"""Temporary files go with their worker, also with one that was killed; no others do."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vera_supervisor.pool.scratch import PREFIX, Scratch

HOLD = """
import sys
from pathlib import Path
from vera_supervisor.pool.scratch import Scratch
scratch = Scratch()
Path(scratch.path, "large-file").write_text("x")
locked = Path(scratch.path, "locked")
locked.mkdir(mode=0o000)
print(scratch.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a place for temporary files that nobody else uses."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_is_for_its_user_alone_and_goes_when_it_is_told_to(place: Path) -> None:
    scratch = Scratch()
    assert Path(scratch.path).parent == place
    assert Path(scratch.path).stat().st_mode & 0o777 == 0o700
    scratch.remove()
    assert list(place.iterdir()) == []


def test_what_a_killed_worker_left_is_removed_by_the_next(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        held = Path(worker.stdout.readline().strip())
        other = Scratch()
        assert (held / "large-file").exists(), "its worker lives"
        worker.kill()
        worker.wait()
        assert held.exists()
        Scratch().remove()
        assert not held.exists()
        assert Path(other.path).exists()
        other.remove()
    assert list(place.iterdir()) == []


def test_what_is_no_directory_of_ours_is_left_alone(place: Path) -> None:
    (place / "else").mkdir()
    (place / f"{PREFIX}link").symlink_to(place / "else")
    (place / f"{PREFIX}file").touch()
    Scratch().remove()
    assert sorted(path.name for path in place.iterdir()) == [
        "else",
        f"{PREFIX}file",
        f"{PREFIX}link",
    ]
