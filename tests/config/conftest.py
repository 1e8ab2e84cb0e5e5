"""What keeps the configuration of this machine out of the tests."""

from pathlib import Path

import pytest

from vera_supervisor.config import KEYS, toml_file


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test stand in an empty directory, with no file and no variable around it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toml_file, "USUAL_PLACES", (Path("config/worker.toml"), tmp_path / "etc"))
    for variable in (toml_file.FILE_VARIABLE, *(key.env for key in KEYS.values())):
        monkeypatch.delenv(variable, raising=False)
