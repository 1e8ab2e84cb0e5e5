"""`vera-worker config` as a person uses it."""

import json
from pathlib import Path

import tomli_w
from click.testing import CliRunner, Result

from vera_supervisor.commands.config import config as command
from vera_supervisor.config import FUNCTION_KEYS, KEYS, SCHEDULE_KEYS, Config, load
from vera_supervisor.config.template import template

SHIPPED = Path(__file__).parents[2] / "config" / "worker.toml"
SECRET = "Tr0ub4dor-and-3"  # the word that must not appear


def run(*args: str, **environ: str) -> Result:
    return CliRunner().invoke(command, args, env=environ)


def test_check_says_ok_and_which_file() -> None:
    Path("good.toml").write_text("queue.size = 1\n", encoding="utf-8")
    result = run("check", "good.toml")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "OK good.toml\n", "")


def test_check_without_a_file_checks_what_serve_would_read() -> None:
    assert run("check").stdout == "OK (no file: defaults and environment)\n"
    Path("config").mkdir()
    Path("config/worker.toml").write_text("queue.size = 0\n", encoding="utf-8")
    assert run("check").exit_code == 2


def test_check_names_every_fault_on_a_line_of_stderr() -> None:
    Path("bad.toml").write_text("[queue]\nsiz = 1\nsize = 0\n", encoding="utf-8")
    result = run("check", "bad.toml", MAX_WORKERS="none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["bad.toml:2", "queue.siz"],
        ["bad.toml:3", "queue.size"],
        ["MAX_WORKERS", "executor.max_workers"],
    ]


def test_show_says_of_every_key_its_value_and_where_it_came_from() -> None:
    Path("w.toml").write_text(
        "[queue]\nsize = 7\n[tasks.functions.f]\nmemory = '1GiB'\n", encoding="utf-8"
    )
    result = run("show", "--config", "w.toml", MAX_WORKERS="9", WORKER_TOKEN=SECRET)
    assert result.exit_code == 0
    head, *rows = (line.split(maxsplit=2) for line in result.stdout.splitlines())
    assert head == ["KEY", "VALUE", "FROM"]
    assert {row[0] for row in rows} == {*KEYS, "tasks.functions.f.memory"}
    assert ["queue.size", "7", "w.toml:2"] in rows
    assert ["executor.max_workers", "9", "MAX_WORKERS"] in rows
    assert ["limits.max_body", "1MiB", "default"] in rows
    assert ["limits.task_memory", "-", "default"] in rows
    assert ["tasks.functions.f.memory", "1GiB", "w.toml:4"] in rows
    assert ["auth.token", "********", "WORKER_TOKEN"] in rows
    assert SECRET not in result.stdout


def test_show_is_aligned() -> None:
    lines = run("show", STORE_URL="memory:").stdout.splitlines()
    head = lines[0]
    for line in lines:
        assert line[head.index("VALUE") - 2 : head.index("VALUE")] == "  "
        assert line[head.index("FROM") - 2 : head.index("FROM")] == "  "


def test_show_as_json_holds_the_same() -> None:
    result = run("show", "--json", WORKER_TOKEN=SECRET, WORKER_PORT="1", LOG_LEVEL="debug")
    rows = json.loads(result.stdout)
    assert set(rows) == set(KEYS)
    assert rows["server.port"] == {"value": 1, "origin": "WORKER_PORT"}
    assert rows["logging.level"] == {"value": "DEBUG", "origin": "LOG_LEVEL"}
    assert rows["tasks.modules"] == {"value": ["vera_executor.demo"], "origin": "default"}
    assert rows["auth.token"] == {"value": "********", "origin": "WORKER_TOKEN"}
    assert SECRET not in result.stdout


def test_show_of_what_cannot_be_used_is_refused() -> None:
    result = run("show", WORKER_PORT="x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("WORKER_PORT: server.port: expected")


def test_init_writes_the_file_that_is_shipped() -> None:
    result = run("init", "new.toml")
    assert (result.exit_code, result.stdout) == (0, "wrote new.toml\n")
    written = Path("new.toml").read_bytes()
    assert written == SHIPPED.read_bytes(), "run `vera-worker config init` to renew it"
    assert load(Path("new.toml"), {}, {}).config == Config()


def test_init_never_overwrites() -> None:
    Path("mine.toml").write_text("mine", encoding="utf-8")
    result = run("init", "mine.toml")
    assert result.exit_code == 2
    assert result.stderr == "mine.toml: this exists already, and it is not overwritten\n"
    assert Path("mine.toml").read_text(encoding="utf-8") == "mine"


def test_init_says_why_it_cannot_write() -> None:
    result = run("init", "no/such/place.toml")
    assert result.exit_code == 2
    assert result.stderr == "no/such/place.toml: cannot be written: no such file or directory\n"


def test_the_file_names_every_key_under_a_sentence() -> None:
    lines = template().splitlines()
    for name, key in (*KEYS.items(), *FUNCTION_KEYS.items()):
        value = key.example if key.default is None else key.kind.to_toml(key.default)
        first = tomli_w.dumps({name.rpartition(".")[2]: value}).splitlines()[0]
        entry = f"# {first}" if key.default is None else first
        places = [at for at, line in enumerate(lines) if line.startswith(entry)]
        assert any(lines[at - 1].startswith(f"# {key.about}") for at in places), name


def test_the_file_is_easy_to_read() -> None:
    assert max(map(len, template().splitlines())) <= 100
    for key in (*KEYS.values(), *FUNCTION_KEYS.values(), *SCHEDULE_KEYS.values()):
        assert key.about[0].isupper()
        assert key.about.endswith(".")
        assert ". " not in key.about, "one sentence"


def test_every_example_of_the_file_can_be_used() -> None:
    uncommented = [
        line.removeprefix("# ")
        for line in template().splitlines()
        if not line.startswith("# ") or line.startswith("# [") or " = " in line
    ]
    Path("full.toml").write_text("\n".join(uncommented), encoding="utf-8")
    loaded = load(Path("full.toml"), {}, {})
    limits = loaded.config.tasks.functions["analyze_data"]
    assert all(getattr(limits, name) is not None for name in FUNCTION_KEYS)
    assert loaded.config.limits.task_memory == 512 * 2**20
    (schedule,) = loaded.config.schedules
    assert all(getattr(schedule, name) is not None for name in SCHEDULE_KEYS)
