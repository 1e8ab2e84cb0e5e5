"""What keeps a worker from starting has its exit status, and a remedy in the user guide."""

import re
import socket
from pathlib import Path
from typing import Final

import pytest

from tests.guide.blocks import GUIDE
from tests.support.worker_process import WorkerFailedError, WorkerProcess, worker

pytestmark = pytest.mark.system

#: It may be another way in a moment: a service manager tries again.
_LATER: Final = 1
#: Somebody has to mend something.
_MEND: Final = 2
_OUTSIDE: Final = {"WORKER_HOST": "0.0.0.0"}
_STORE: Final = {"STORE_URL": "sqlite:///state/tasks.db"}


def remedies() -> list[re.Pattern[str]]:
    """Return the sentences of the guide's table; … stands for anything."""
    section = GUIDE.read_text().partition("### It does not start")[2].partition("\n### ")[0]
    said = re.findall(r"^\| `(.+?)`.* \| .+ \|$", section, re.MULTILINE)
    return [re.compile(".+".join(map(re.escape, each.strip("… ").split("…")))) for each in said]


def assert_refused(directory: Path, expected: int, **settings: str) -> None:
    with pytest.raises(WorkerFailedError) as failed:
        WorkerProcess(directory, **settings)
    said = failed.value.log.splitlines()[-1].replace(str(directory / "worker.toml"), "worker.toml")
    assert failed.value.status == expected, said
    assert any(remedy.search(said) for remedy in remedies()), said


def test_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        assert_refused(tmp_path, _LATER, WORKER_PORT=str(holder.getsockname()[1]))


def test_a_value_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text('[queue]\n\nsize = "many"\n')
    assert_refused(tmp_path, _MEND, VERA_CONFIG=str(file))


def test_the_store_is_in_use(tmp_path: Path) -> None:
    with worker(tmp_path, **_STORE):
        assert_refused(tmp_path, _MEND, **_STORE)


def test_there_is_no_place_for_the_store(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory\n")
    assert_refused(tmp_path, _MEND, **_STORE)


def test_the_store_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "tasks.db").write_bytes(b"no database\n" * 1000)
    assert_refused(tmp_path, _MEND, **_STORE)


def test_others_may_write_where_the_store_is(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    assert_refused(tmp_path, _MEND, **_STORE)


def test_others_may_read_the_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o644)
    assert_refused(tmp_path, _MEND, VERA_AUTH__TOKEN_FILE=str(file))


def test_there_is_no_such_module(tmp_path: Path) -> None:
    assert_refused(tmp_path, _MEND, modules="no_such_module")


def test_a_module_is_late(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("import time\ntime.sleep(600)\n")
    # The machine may have been busy with other things.
    assert_refused(tmp_path, _LATER, modules="late", VERA_EXECUTOR__START_TIMEOUT="0.5")


def test_no_executor_gets_on_its_feet(tmp_path: Path) -> None:
    (tmp_path / "fatal.py").write_text("import os\nos.register_at_fork(after_in_child=os.abort)\n")
    assert_refused(tmp_path, _LATER, modules="fatal")


def test_a_token_has_no_place_to_be_kept(tmp_path: Path) -> None:
    assert_refused(tmp_path, _MEND, **_OUTSIDE)
