"""How verbs print on a terminal and in a pipe."""

import io
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.fake_worker import record
from vera_client.commands import bars, screen, views
from vera_client.records import TaskRecord


class Terminal(io.StringIO):
    """A place to write that says that somebody watches."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Call it to make stdout and stderr one terminal."""

    def terminal() -> Terminal:
        written = Terminal()
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(f"sys.{name}", written)
        return written

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


def test_a_table_fits_the_terminal(terminal: Callable[[], Terminal]) -> None:
    written = terminal()
    screen.print_table(("ID", "STATUS", "ERROR"), [("[red]t-1", "failed", "why " * 30)])
    text = written.getvalue()
    assert "[red]t-1" in text
    assert "\x1b[31mfailed" in text
    assert text.count("\n") > 2


def test_results_are_laid_out_on_a_terminal(terminal: Callable[[], Terminal]) -> None:
    written = terminal()
    screen.print_json({"a": [1, 2]})
    assert written.getvalue() == '{\n  "a": [\n    1,\n    2\n  ]\n}\n'


def test_people_are_told_what_programs_are_not(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = terminal()
    screen.say("queued")
    assert "queued" in written.getvalue()
    silent = io.StringIO()
    monkeypatch.setattr("sys.stderr", silent)
    screen.say("queued")
    assert silent.getvalue() == ""


def test_somebody_watches_a_bar(terminal: Callable[[], Terminal]) -> None:
    written = terminal()
    with bars.progress() as bar:
        bar.update(bar.add_task("[add]", total=2), advance=1, refresh=True)
    assert "[add]" in written.getvalue()
    assert "1/2" in written.getvalue()


def test_fields_of_many_lines_go_below_their_label(capsys: pytest.CaptureFixture[str]) -> None:
    screen.print_fields([("task", "t-1"), ("last output", "one\ntwo\n")])
    assert capsys.readouterr().out == "task         t-1\nlast output\n  one\n  two\n"


@given(st.text())
def test_nothing_that_a_task_says_steers_the_terminal(text: str) -> None:
    said = screen.visible(text)
    assert len(said) == len(text)
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in said)
    assert "\x7f" not in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 ms"),
        (0.0424, "42 ms"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (119.4, "119.4 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_said_as_people_do(value: float, said: str) -> None:
    assert screen.seconds(value) == said


def test_columns_are_aligned_and_end_where_their_text_ends() -> None:
    assert screen.columns([("A", "BB"), ("long", ""), ("x", "y")]) == "A     BB\nlong\nx     y"


def test_a_task_that_waits_or_runs_is_shown_with_what_is_known() -> None:
    def fields(**changes: object) -> dict[str, str]:
        said = record("queued", started_at=None, attempt=0, **changes)
        return dict(views.record_fields(msgspec.convert(said, TaskRecord)))

    waits = fields(position=3, blocked_by="memory", tags=["a", "b"])
    assert waits["position"] == "3, waits for memory"
    assert waits["tags"] == "a, b"
    assert "started" not in waits
    assert fields(position=1)["position"] == "1"
    assert fields(progress={"fraction": 0.4, "message": "half"})["progress"] == "40 %  half"
    assert fields(progress={"fraction": None, "message": "soon"})["progress"] == "soon"


def test_a_long_call_is_cut() -> None:
    call = views.call_of({"function": "add", "args": ["x" * 1000], "kwargs": {}})
    assert len(views.clip(call, 80)) == 80
    assert views.clip("short", 80) == "short"
