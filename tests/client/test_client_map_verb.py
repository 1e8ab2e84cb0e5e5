"""`map`: NDJSON in, NDJSON out, in the same order."""

import io
import json
import os
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.conftest import Run
from tests.client.fake_worker import Asked, FakeWorker, Reply, failed, lines, problem, record
from vera_client.commands import bars
from vera_client.commands.map import Line, count, lines_of, parsed
from vera_client.mapping import Mapper
from vera_client.patience import Patience

LINES = b'[1, 2]\n\n{"mode": "fast"}\n"word"\n3\n'


class Adder(FakeWorker):
    """Answers each line with its own arguments; that of the first one comes last."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls
        self.others_done = Event()
        self.done = 0

    def answer(self, asked: Asked) -> Reply:
        assert asked.route == "POST /tasks"
        return lines(*(self._outcome(json.loads(text)) for text in asked.body.splitlines()))

    def _outcome(self, submission: Any) -> Any:
        payload = submission["payload"]
        if payload["args"] == [1, 2]:
            assert self.others_done.wait(60)
        self.done += 1
        if self.done == self.calls - 1:
            self.others_done.set()
        return record(result=[payload["args"], payload["kwargs"]])


@pytest.fixture
def adder(fake: FakeWorker, fake_server: object) -> FakeWorker:
    adder = Adder(calls=4)
    adder.url = fake.url
    fake_server.fake = adder  # type: ignore[attr-defined]
    return adder


RESULTS = [[[1, 2], {}], [[], {"mode": "fast"}], [["word"], {}], [[3], {}]]


def test_results_come_in_the_order_of_the_lines(run: Run, adder: FakeWorker) -> None:
    result = run(adder.url, "map", "add", stdin=LINES)
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == RESULTS
    assert result.stderr == ""


def test_a_file_is_read_like_stdin(run: Run, adder: FakeWorker, tmp_path: Path) -> None:
    file = tmp_path / "lines.ndjson"
    file.write_bytes(LINES.rstrip(b"\n"))
    result = run(adder.url, "map", "add", str(file))
    assert [json.loads(line) for line in result.stdout.splitlines()] == RESULTS


def test_every_line_is_submitted_as_it_was_asked(run: Run, fake: FakeWorker) -> None:
    fake.on("POST /tasks", lines(record()))
    words = ["--priority", "low", "--timeout", "2", "--in-flight", "1"]
    assert run(fake.url, "map", "add", *words, stdin="1\n2\n").exit_code == 0
    bodies = [asked.json for asked in fake.asked]
    assert len({body.pop("task_id") for body in bodies}) == 2
    for number, body in enumerate(bodies, 1):
        assert body == {
            "payload": {"function": "add", "args": [number], "kwargs": {}},
            "priority": "low",
            "timeout": 2.0,
        }


def test_a_call_that_failed_is_null_and_exit_1(run: Run, fake: FakeWorker) -> None:
    unfit = problem(422, "too many arguments")
    fake.on("POST /tasks", *map(lines, [record(), failed(), unfit, record()]))
    fake.on("POST /task/submit", unfit)
    result = run(fake.url, "map", "add", "--in-flight", "1", stdin="1\n\n2\n3\n4\n")
    assert result.exit_code == 1
    assert result.stdout == "3\nnull\nnull\n3\n"
    assert result.stderr.splitlines() == [
        "line 3: task t-1 failed (timeout): it took longer than 5 s",
        "line 4: too many arguments",
    ]


def test_whole_records_on_demand(run: Run, fake: FakeWorker) -> None:
    fake.on("POST /tasks", lines(record()), lines(failed()))
    result = run(fake.url, "map", "add", "--json", "--in-flight", "1", stdin="1\n2\n")
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["status"], first["result"], first["worker_id"]) == ("completed", 3, "w-1")
    assert (second["status"], second["failure"]["cause"]) == ("failed", "timeout")


def test_a_full_queue_is_waited_for(
    run: Run, fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("vera_client.commands.map.Mapper", partial(Mapper, sleep=sleep))
    monkeypatch.setattr("vera_client.commands.map.Patience", partial(Patience, rng=lambda: 0.5))
    full = problem(429, "The queue is full.", Retry_After="9")
    fake.on("POST /tasks", full)
    fake.on("POST /task/submit", full, full, record())
    result = run(fake.url, "map", "add", stdin="1\n")
    assert (result.exit_code, result.stdout) == (0, "3\n")
    assert slept == [9.5, 9.5]


def test_a_file_with_a_fault_is_not_begun(run: Run, fake: FakeWorker, tmp_path: Path) -> None:
    file = tmp_path / "lines.ndjson"
    file.write_bytes(b"1\n2\n{oops\n")
    result = run(fake.url, "map", "add", str(file))
    assert result.exit_code == 2
    assert "line 3: it is no JSON" in result.stderr
    assert fake.asked == []


def test_nothing_in_nothing_out(run: Run, nobody: str) -> None:
    result = run(nobody, "map", "add", stdin="\n\n")
    assert (result.exit_code, result.output) == (0, "")


def test_lines_are_counted_only_where_they_can_be_read_again() -> None:
    file = io.BytesIO(LINES)
    assert count(file) == 4
    assert file.read() == LINES

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    assert count(Pipe(LINES)) is None


@given(st.lists(st.sampled_from([b"1", b"23", b"\n", b"\n[4]\n", b"\n\n"]), max_size=12))
def test_a_pipe_is_read_as_it_comes(pieces: list[bytes]) -> None:
    read_end, write_end = os.pipe()

    async def read() -> list[Line]:
        async def write() -> None:
            with os.fdopen(write_end, "wb", buffering=0) as pipe:
                for piece in pieces:
                    pipe.write(piece)
                    await anyio.lowlevel.checkpoint()

        with os.fdopen(read_end, "rb") as pipe:
            async with anyio.create_task_group() as group:
                group.start_soon(write)
                return [line async for lines in lines_of(pipe) for line in lines]

    texts = b"".join(pieces).split(b"\n")
    expected = [parsed(number, text) for number, text in enumerate(texts, 1) if text]
    assert anyio.run(read) == expected


def test_a_silent_pipe_does_not_hold_up_an_interrupt() -> None:
    async def read(end: int) -> list[Line]:
        with os.fdopen(end, "rb") as pipe, anyio.move_on_after(0):
            return [line async for lines in lines_of(pipe) for line in lines]
        return []

    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb"):
        assert anyio.run(read, read_end) == []


def test_nobody_watches_no_bar() -> None:
    assert bars.progress().disable
