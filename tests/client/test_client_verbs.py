"""The client verbs against a worker on a real port: what they print, and their exit codes."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from tests.client.conftest import Run
from tests.client.fake_worker import FakeWorker, Reply, failed, problem, record
from vera_client.verbs import HELP, VERBS
from vera_worker import __version__

VERA_WORKER = Path(sys.executable).with_name("vera-worker")
HEALTHY = {"status": "healthy", "worker_id": "w-1", "cpu_percent": 45.2, "memory_percent": 62.1}
ON_A_WORKER = {
    "submit": ["submit", "add", "1"],
    "map": ["map", "add"],
    "status": ["status", "t-1"],
    "output": ["output", "t-1"],
    "follow": ["output", "t-1", "--follow"],
    "cancel": ["cancel", "t-1"],
    "list": ["list"],
    "functions": ["functions"],
    "top": ["top", "--once"],
    "drain": ["drain"],
    "resume": ["resume"],
    "reload": ["reload"],
}
ROUTES = {
    "submit": "POST /task/submit",
    "map": "POST /tasks",
    "status": "GET /task/t-1",
    "output": "GET /task/t-1/output",
    "follow": "GET /task/t-1/output",
    "cancel": "DELETE /task/t-1",
    "list": "GET /tasks",
    "functions": "GET /functions",
    "top": "GET /metrics",
    "drain": "POST /admin/drain",
    "resume": "POST /admin/resume",
    "reload": "POST /admin/reload",
}


def is_one_sentence(stderr: str, *parts: str) -> bool:
    """Tell whether all that was said is one line, without a traceback."""
    line, end, rest = stderr.partition("\n")
    return line.startswith("Error: ") and end == "\n" and not rest and all(p in line for p in parts)


@pytest.mark.parametrize("verb", ON_A_WORKER)
def test_nobody_there_is_exit_3(run: Run, nobody: str, verb: str) -> None:
    result = run(nobody, *ON_A_WORKER[verb], stdin="1\n")
    assert result.exit_code == 3, result.output
    assert is_one_sentence(result.stderr, nobody, "vera-worker serve", "--url")
    assert result.stdout == ""


@pytest.mark.parametrize("verb", ON_A_WORKER)
@pytest.mark.parametrize(
    ("status", "code"),
    [(401, 4), (403, 4), (404, 2), (409, 4), (422, 2), (503, 4), (500, 3)],
)
def test_each_problem_has_its_exit_code(
    run: Run, fake: FakeWorker, verb: str, status: int, code: int
) -> None:
    fake.on("GET /health", HEALTHY)
    for route in {ROUTES[verb], "POST /task/submit"}:  # where map goes with what was refused
        fake.on(route, problem(status, "It is not so.", Retry_After="1"))
    result = run(fake.url, *ON_A_WORKER[verb], stdin="1\n")
    assert result.exit_code == code, result.output
    advice = {401: "VERA_TOKEN", 503: "try again in 1 s"}.get(status, "")
    assert is_one_sentence(result.stderr, "It is not so", advice)


@pytest.mark.parametrize("verb", ["submit", "map", "status", "cancel", "list", "functions", "top"])
def test_a_stranger_is_exit_3(run: Run, fake: FakeWorker, verb: str) -> None:
    fake.on("GET /health", HEALTHY).on(ROUTES[verb], "<html>")
    result = run(fake.url, *ON_A_WORKER[verb], stdin="1\n")
    assert result.exit_code == 3
    assert is_one_sentence(result.stderr, "no vera-worker")


@pytest.mark.parametrize(
    "words",
    [
        ["submit"],
        ["submit", "add", "--priority", "urgent"],
        ["submit", "add", "--timeout", "0"],
        ["submit", "add", "--timeout", "nan"],
        ["map", "add", "--timeout", "inf"],
        ["map", "add", "--patience", "nan"],
        ["submit", "add", "-k", "mode"],
        ["submit", "add", "-k", "a=1", "-k", "a=2"],
        ["submit", "add", "1e999"],
        ["submit", "add", "--no-such-option"],
        ["list", "--limit", "0"],
        ["list", "--status", "lost"],
        ["status"],
        ["map", "add", "/no/such/file"],
        ["status", "t-1", "--url", "localhost:5000"],
        ["status", "t-1", "--token", "two words"],
        ["no-such-verb"],
    ],
)
def test_wrong_usage_is_exit_2(run: Run, nobody: str, words: list[str]) -> None:
    result = run(nobody, *words)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize("words", [["submit", "add", "--wait"], ["status", "t-1"]])
def test_an_interrupt_is_not_a_task_that_failed(
    run: Run, nobody: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vera_client.transport.request_of", interrupt)
    result = run(nobody, *words, stdin="1\n")
    assert result.exit_code == 130
    assert result.stderr.strip() == "Error: interrupted; what was submitted goes on."


def test_submit_prints_the_id(run: Run, fake: FakeWorker) -> None:
    fake.on("POST /task/submit", Reply(record("queued", position=3), 202))
    words = ["submit", "add", "-5", "fast", '{"a": [1]}', "-k", "mode=slow", "-k", "n=-1"]
    result = run(
        fake.url, *words, "--priority", "high", "--timeout", "2", "--tag", "x", "--id", "i"
    )
    assert (result.exit_code, result.stdout) == (0, "t-1\n")
    assert fake.asked[0].json == {
        "task_id": "i",
        "payload": {
            "function": "add",
            "args": [-5, "fast", {"a": [1]}],
            "kwargs": {"mode": "slow", "n": -1},
        },
        "priority": "high",
        "timeout": 2.0,
        "tags": ["x"],
    }


def test_a_word_with_a_dash_comes_after_two_dashes(run: Run, fake: FakeWorker) -> None:
    fake.on("POST /task/submit", record("queued"))
    assert run(fake.url, "submit", "add", "--", "-5", "--fast").exit_code == 0
    assert fake.asked[0].json["payload"]["args"] == [-5, "--fast"]


def test_submit_sends_the_token(run: Run, fake: FakeWorker) -> None:
    fake.on("POST /task/submit", record("queued"))
    run(fake.url, "submit", "add", "--token", "secret")
    assert fake.asked[0].headers["authorization"] == "Bearer secret"


def test_submit_waits_for_the_result(run: Run, fake: FakeWorker) -> None:
    fake.on("POST /task/submit", record("queued"))
    fake.on("GET /task/t-1", record(result={"größe": 1}))
    result = run(fake.url, "submit", "add", "--wait")
    assert (result.exit_code, result.stdout) == (0, '{"größe":1}\n')


def test_submit_exits_1_when_the_task_failed(run: Run, fake: FakeWorker) -> None:
    fake.on("POST /task/submit", failed())
    result = run(fake.url, "submit", "add", "--wait")
    assert (result.exit_code, result.stdout) == (1, "")
    assert is_one_sentence(result.stderr, "task t-1 failed (timeout): it took longer")


@pytest.mark.parametrize(("ending", "code"), [(record(), 0), (failed(), 1)])
def test_submit_prints_the_whole_record_as_it_came(
    run: Run, fake: FakeWorker, ending: dict[str, object], code: int
) -> None:
    fake.on("POST /task/submit", record("queued"))
    fake.on("GET /task/t-1", ending | {"more": "than we know"})
    result = run(fake.url, "submit", "add", "--wait", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout) == ending | {"more": "than we know"}


@pytest.mark.parametrize(
    ("status", "code"), [("queued", 0), ("running", 0), ("completed", 0), ("cancelled", 1)]
)
def test_status_tells_how_a_task_stands(run: Run, fake: FakeWorker, status: str, code: int) -> None:
    fake.on("GET /task/t-1", record(status))
    result = run(fake.url, "status", "t-1")
    assert result.exit_code == code
    assert f"status    {status}\n" in result.stdout
    assert 'call      add(1, 2, mode="fast")\n' in result.stdout


def test_status_shows_the_whole_death_certificate(run: Run, fake: FakeWorker) -> None:
    fake.on(
        "GET /task/t-1",
        failed("memory", limit_mb=512.0, signal="SIGKILL", output_tail="one\n\x1b[2Jtwo\n"),
    )
    result = run(fake.url, "status", "t-1")
    assert result.exit_code == 1
    for line in ("cause         memory", "memory limit  512 MB", "signal        SIGKILL"):
        assert f"{line}\n" in result.stdout
    assert result.stdout.endswith("last output\n  one\n  ␛[2Jtwo\n")


def test_status_as_json_is_what_the_worker_said(run: Run, fake: FakeWorker) -> None:
    fake.on("GET /task/t-1", Reply('{"task_id":"t-1", "status":"queued", "new":1.10}\n'))
    result = run(fake.url, "status", "t-1", "--json")
    assert result.stdout == '{"task_id":"t-1", "status":"queued", "new":1.10}\n'


@pytest.mark.parametrize("follow", [[], ["--follow"], ["-f"]])
def test_output_is_passed_on(run: Run, fake: FakeWorker, follow: list[str]) -> None:
    fake.on("GET /task/t-1/output", "one\ntwö")
    result = run(fake.url, "output", "t-1", *follow)
    assert (result.exit_code, result.stdout) == (0, "one\ntwö")
    assert fake.asked[0].query == ({"follow": "1"} if follow else {})
    as_json = run(fake.url, "output", "t-1", "--json", *follow)
    assert json.loads(as_json.stdout) == {"task_id": "t-1", "output": "one\ntwö"}


def test_cancel_tells_what_became_of_it(run: Run, fake: FakeWorker) -> None:
    fake.on("DELETE /task/t-1", record("cancelled"))
    result = run(fake.url, "cancel", "t-1")
    assert (result.exit_code, result.stdout) == (0, "t-1 cancelled\n")


def test_list_is_a_table_with_nothing_cut(run: Run, fake: FakeWorker) -> None:
    long = "x" * 200
    fake.on("GET /tasks", {"tasks": [record(task_id=long), failed()], "cursor": "more"})
    result = run(fake.url, "list", "--status", "failed", "--function", "add", "--limit", "7")
    assert result.exit_code == 0
    assert fake.asked[0].query == {"status": "failed", "function": "add", "limit": "7"}
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["ID", "STATUS", "FUNCTION", "PRIORITY", "QUEUED", "TOOK", "ERROR"]
    assert first.split() == [
        *(long, "completed", "add", "normal", "2025-01-15", "10:00:00Z", "2.5", "s")
    ]
    assert second.endswith("it took longer than 5 s")


def test_functions_are_shown_with_their_limits(run: Run, fake: FakeWorker) -> None:
    add = {"name": "add", "signature": "(a, b)", "doc": "Add.", "limits": {"timeout": 5}}
    add["pool"] = "gpu"
    fake.on("GET /functions", {"functions": [add, {"name": "noop", "signature": "()"}]})
    result = run(fake.url, "functions")
    assert result.stdout.splitlines()[1:] == ["add(a, b)  Add.  pool=gpu, timeout=5", "noop()"]


def test_a_reload_says_what_it_has_changed(run: Run, fake: FakeWorker) -> None:
    change = {"key": "queue.size", "old": 100, "new": 50}
    functions = {"added": ["a", "b"], "removed": [], "changed": ["c"]}
    fake.on("POST /admin/reload", {"changes": [change], "functions": functions})
    assert run(fake.url, "reload").stdout.splitlines()[1:] == [
        "  queue.size: 100 -> 50",
        "  functions added: a, b",
        "  functions changed: c",
    ]


@pytest.mark.parametrize("verb", ["drain", "resume", "reload"])
def test_the_worker_is_told(run: Run, fake: FakeWorker, verb: str) -> None:
    fake.on(f"POST /admin/{verb}", {"changes": []})
    assert run(fake.url, verb).exit_code == 0
    assert json.loads(run(fake.url, verb, "--json").stdout) == {"changes": []}


@pytest.mark.parametrize(
    ("ready", "health", "code"),
    [
        (Reply({}), Reply(HEALTHY), 0),
        (Reply({}), Reply(HEALTHY | {"status": "degraded"}), 0),
        (Reply({}, 503), Reply(HEALTHY | {"status": "draining"}, 503), 1),
        (problem(503, "No."), Reply(HEALTHY | {"status": "unhealthy"}, 503), 1),
        (problem(401, "Say who you are."), Reply(HEALTHY), 1),
        (Reply({}), Reply("<html>"), 1),
    ],
)
def test_health_is_0_when_ready_and_1_otherwise(
    run: Run, fake: FakeWorker, ready: Reply, health: Reply, code: int
) -> None:
    fake.on("GET /health/ready", ready).on("GET /health", health)
    assert run(fake.url, "health").exit_code == code


def test_health_of_nobody_is_1(run: Run, nobody: str) -> None:
    result = run(nobody, "health")
    assert result.exit_code == 1
    assert is_one_sentence(result.stderr, nobody)


def test_health_says_why(run: Run, fake: FakeWorker) -> None:
    health = HEALTHY | {"status": "draining", "reasons": ["a drain was asked for"]}
    fake.on("GET /health/ready", Reply({}, 503)).on("GET /health", Reply(health, 503))
    result = run(fake.url, "health")
    assert "status   draining (not ready)\n" in result.stdout
    assert "because  a drain was asked for\n" in result.stdout
    assert json.loads(run(fake.url, "health", "--json").stdout) == health


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_where_the_table_says(run: Run, nobody: str, verb: str) -> None:
    module, _, attribute = VERBS[verb].partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == verb
    result = run(nobody, verb, "--help")
    assert result.exit_code == 0
    assert "Usage: vera-worker" in result.stdout


def test_help_names_every_verb_with_its_line(run: Run, nobody: str) -> None:
    assert VERBS.keys() == HELP.keys()
    said = run(nobody, "--help").stdout
    assert all(verb in said and line in said for verb, line in HELP.items())


def test_the_program_says_which_version_it_is() -> None:
    said = subprocess.check_output([VERA_WORKER, "--version"], text=True)
    assert said == f"vera-worker {__version__}\n"


def test_the_list_of_verbs_loads_nothing_heavy() -> None:
    code = """
import sys
from click.testing import CliRunner
from vera_client.lazy_group import LazyGroup
from vera_client.verbs import HELP, VERBS
result = CliRunner().invoke(LazyGroup("vera-worker", lazy=VERBS, lines=HELP), ["--help"])
assert result.exit_code == 0, result.output
print(sorted({"httpx", "rich", "anyio", "msgspec"} & sys.modules.keys()))
"""
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=Path("/"))
    assert said == "[]\n"
