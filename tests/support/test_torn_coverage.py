"""Coverage that was torn is left out, wherever it was torn, and no other is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import torn_coverage

PAGE = 4096


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Return a file as coverage writes them: one table after another."""
    file = tmp_path / ".coverage.whole"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("create table meta (key text, value text, unique (key))")
        connection.execute("create table arc (file_id integer, fromno integer, tono integer)")
        connection.execute("insert into meta values ('has_arcs', '1')")
        connection.execute("insert into arc values (1, 1, 2)")
        connection.commit()
    return file


@pytest.mark.parametrize("pages", range(4))
@pytest.mark.parametrize("rest", [b"", bytes(PAGE)])
def test_what_is_torn_goes(
    whole: Path, pages: int, rest: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    content = whole.read_bytes()
    assert len(content) == 4 * PAGE
    cut = whole.with_name(".coverage.cut")
    cut.write_bytes(content[: pages * PAGE] + rest)
    torn_coverage.main(whole.parent)
    assert list(whole.parent.iterdir()) == [whole]
    assert capsys.readouterr().out == "coverage of 1 processes was torn, and is left out\n"
