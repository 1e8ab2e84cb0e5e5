"""What reaches systemd's journal: priorities of lines, and what tasks print under their ids."""

import logging
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.worker_process import worker
from vera_executor.demo import fail
from vera_supervisor.journald import Journald, priority, reads
from vera_supervisor.logs import JournalFormatter, JsonFormatter, TextFormatter
from vera_supervisor.task_output import PIECE_BYTES, TaskOutput, pieces


def entry(datagram: bytes) -> dict[str, bytes]:
    """Return the fields of an entry, in the form in which every value has its length before it."""
    fields = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        size = int.from_bytes(rest[:8], "little")
        fields[name.decode()] = rest[8 : 8 + size]
        assert rest[8 + size : 9 + size] == b"\n"
        datagram = rest[9 + size :]
    return fields


@pytest.mark.parametrize(
    ("level", "number"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7), (35, 4), (1, 7)],
)
def test_priorities_are_those_of_syslog(level: str | int, number: int) -> None:
    assert priority(logging.getLevelNamesMapping()[level] if isinstance(level, str) else level) == (
        number
    )


@pytest.mark.parametrize("inner", [TextFormatter(), JsonFormatter()])
def test_a_traceback_is_in_the_line_of_its_message(inner: logging.Formatter) -> None:
    with pytest.raises(RuntimeError) as caught:
        fail("oh")
    info = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("vera", logging.ERROR, "f.py", 1, "it broke", (), info)
    line = JournalFormatter(inner).format(record)
    assert line.startswith("<3>")
    assert "\n" not in line
    assert "RuntimeError: oh" in line


def test_only_the_stream_that_systemd_names_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        assert reads(stream, f"{found.st_dev}:{found.st_ino}")
        assert not reads(stream, f"{found.st_dev}:{found.st_ino + 1}")
        assert not reads(stream, None)
    assert not reads(stream, f"{found.st_dev}:{found.st_ino}")  # it is closed


@pytest.mark.system
def test_every_line_has_its_priority_where_the_log_is_the_journal(tmp_path: Path) -> None:
    # Which file the log is, is known only once it is there: the shell that becomes the worker asks.
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nJOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec {sys.executable} "$@"\n'
    )
    python.chmod(0o700)
    with worker(tmp_path, python=str(python)) as node:
        assert node.submit("noop", wait=60)["status"] == "completed"
        assert node.terminate() == 0
        lines = node.log.read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.match(r"<[2-7]>", line)] == []


@pytest.mark.system
def test_the_output_of_tasks_is_logged_where_that_is_asked_for(tmp_path: Path) -> None:
    with worker(tmp_path, VERA_LOGGING__TASK_OUTPUT="true") as node:
        task_id = node.submit("print_then_die", "last words", wait=60, max_retries=0)["task_id"]
        assert node.terminate() == 0
        assert f"INFO - {task_id}: last words" in node.log.read_text()
    with worker(tmp_path) as node:
        node.submit("print_then_die", "last words", wait=60, max_retries=0)
        assert node.terminate() == 0
        assert "last words" not in node.log.read_text()


@given(st.binary(max_size=3 * PIECE_BYTES))
def test_pieces_are_short_and_nothing_but_line_ends_is_lost(output: bytes) -> None:
    found = pieces(output)
    assert all(0 < len(piece) <= PIECE_BYTES for piece in found)
    assert b"".join(found).replace(b"\n", b"") == output.replace(b"\n", b"")


def test_lines_are_cut_only_where_one_is_too_long() -> None:
    output = b"a" * 20_000 + b"\n" + b"b" * 20_000 + b"\n" + b"c" * (PIECE_BYTES + 1) + b"\n"
    assert [len(piece) for piece in pieces(output)] == [20_000, 20_000, PIECE_BYTES, 1]


def test_an_entry_can_be_found_by_the_task(tmp_path: Path) -> None:
    address = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(address))
        TaskOutput(Journald(address)).write("t-1", 2, b"one\nMESSAGE=two\n\xff")
        assert entry(journal.recv(65536)) == {
            "MESSAGE": b"one\nMESSAGE=two\n\xff",
            "PRIORITY": b"6",
            "SYSLOG_IDENTIFIER": b"vera-task",
            "VERA_TASK_ID": b"t-1",
            "VERA_ATTEMPT": b"2",
        }


@pytest.mark.parametrize("there", [True, False])
def test_a_journal_that_does_not_read_holds_nobody_up(tmp_path: Path, there: bool) -> None:
    address = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        if there:
            journal.bind(str(address))
        journald = Journald(address)
        fields: dict[str, Any] = {"MESSAGE": b"x" * PIECE_BYTES}
        for _ in range(2000):  # more than any queue of datagrams holds
            journald.send(fields)
        assert journald.lost > 0
