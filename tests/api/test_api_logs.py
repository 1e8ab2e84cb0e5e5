"""One line of the log an event, whatever clients and tasks put into it (A4)."""

import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.worker_process import worker
from vera_executor.demo import fail
from vera_supervisor.logs import JsonFormatter, TextFormatter

HOSTILE = "a\r\nb\x1b[31mc\u2028d\u2029e\x85f\x00g\x9bh\ud800i\x7f"
TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - [\w.]+ - [A-Z]+ - .+")


def record(message: str, *args: object, exc: BaseException | None = None) -> logging.LogRecord:
    info = None if exc is None else (type(exc), exc, exc.__traceback__)
    return logging.LogRecord("vera", logging.INFO, "file.py", 1, message, args, info)


def raised(message: str) -> BaseException:
    with pytest.raises(RuntimeError) as caught:
        fail(message)
    return caught.value


def controls(text: str) -> list[str]:
    return re.findall("[\x00-\x1f\x7f-\x9f\u2028\u2029]", text)


@given(st.text(st.characters()))
def test_a_line_of_text_is_one_line(word: str) -> None:
    line = TextFormatter().format(record("task %s", word))
    assert controls(line) == []
    assert TEXT_LINE.fullmatch(line)


@given(st.text(st.characters()))
def test_a_line_of_json_is_one_object(word: str) -> None:
    line = JsonFormatter().format(record("task %s", word, exc=raised(word)))
    assert controls(line) == []
    entry = json.loads(line)
    assert entry["message"] == "task " + word.encode("utf-8", "backslashreplace").decode()
    assert set(entry) == {"time", "logger", "level", "message", "exception"}


def test_a_traceback_is_indented_and_cannot_steer_a_terminal() -> None:
    first, *rest = TextFormatter().format(record("oh", exc=raised(HOSTILE))).split("\n")
    assert TEXT_LINE.fullmatch(first)
    assert all(line.startswith("  ") for line in rest)
    assert [c for line in rest for c in controls(line)] == []


def test_what_cannot_be_written_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    for formatter in (TextFormatter(), JsonFormatter()):
        handler.setFormatter(formatter)
        handler.handle(record("%s", HOSTILE, exc=raised(HOSTILE)))
    assert "Logging error" not in capsys.readouterr().err


@pytest.mark.system
@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_of_a_worker_that_met_hostile_words(
    form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    word = HOSTILE.replace("\ud800", "")
    quoted = "%0d%0aERROR%1b[31m%e2%80%a8%00"
    with worker(tmp_path_factory.mktemp(form), LOG_FORMAT=form, LOG_LEVEL="DEBUG") as node:
        for function, argument in (("fail", word), ("print_everywhere", "x\r\n\x1b[31mFORGED")):
            node.submit(function, argument, wait=60, tags=[word.replace("\0", "")], metadata=word)
        for method in ("GET", "DELETE", "POST", "PUT"):
            for path in (f"/{quoted}", f"/task/{quoted}", f"/task/{quoted}/output"):
                node.client.request(method, path, headers={"user-agent": "a\x1b[31m"})
        for payload in ({"function": word}, {"function": "echo", "args": [word], word: 1}):
            node.client.post("/task/submit", json={"payload": payload})
        node.client.post("/task/submit", json={"task_id": word, "payload": {"function": "noop"}})
        node.submit("kill_self", wait=60)
        assert node.terminate() == 0
        lines = node.log.read_bytes().decode().removesuffix("\n").split("\n")
    for line in lines:
        assert controls(line) == []
        if form == "json":
            assert {"time", "logger", "level", "message"} <= set(json.loads(line))
        else:
            assert TEXT_LINE.fullmatch(line), line
    assert "stopped" in lines[-1]
