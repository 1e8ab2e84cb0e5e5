"""Everything that is wrong, each in one line that says where and what to do."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vera_supervisor.config import KEYS, ConfigError, Fault, load
from vera_supervisor.config.faults import nearest, one_line, quoted


@pytest.fixture
def file() -> Path:
    return Path("worker.toml")


def faults_of(file: Path, text: str | bytes, environ: dict[str, str] | None = None) -> list[Fault]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {}, {})
    return caught.value.faults


def test_all_faults_are_reported_at_once(file: Path) -> None:
    text = """\
[limits]
task_timout = 3
max_cpu_percent = 101

[server]
port = "http"
host = ""

[excutor]
max_workers = 2

[tasks.functions.resize]
priority = "urgent"
timeot = 3
"""
    environ = {"QUEUE_SIZE": "0", "VERA_QUEUE__AGING_STP": "1"}
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, environ, {"server.port": 70000})
    assert (
        str(caught.value)
        == """\
worker.toml:2: limits.task_timout: unknown key; did you mean "limits.task_timeout"?
worker.toml:3: limits.max_cpu_percent: expected a number above 0, at most 100, found 101
worker.toml:6: server.port: expected an integer from 0 to 65535, found "http"
worker.toml:7: server.host: expected a host name or an IP address, without a port, found ""
worker.toml:9: excutor: unknown section; did you mean "executor"?
worker.toml:13: tasks.functions.resize.priority: \
expected one of critical, high, normal, low, found "urgent"
worker.toml:14: tasks.functions.resize.timeot: \
unknown key; did you mean "tasks.functions.resize.timeout"?
QUEUE_SIZE: queue.size: expected an integer from 1 to 1000000000, found 0
VERA_QUEUE__AGING_STP: \
no key has this environment variable; did you mean "VERA_QUEUE__AGING_STEP"?
--port: server.port: expected an integer from 0 to 65535, found 70000"""
    )
    first = caught.value.faults[0]
    assert (first.source, first.line, first.key) == ("worker.toml", 2, "limits.task_timout")
    assert first.nearest == "limits.task_timeout"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("worker.id = ''", "a text of 1 to 128 printable characters"),
        ("worker.id = '  '", "a text of 1 to 128 printable characters"),
        (f"worker.id = '{'x' * 129}'", "a text of 1 to 128 printable characters"),
        ('worker.id = "a\\nb"', 'printable characters, found "a\\nb"'),
        ("worker.id = 7", "found 7"),
        ("server.port = 65536", "from 0 to 65535, found 65536"),
        ("server.port = -1", "found -1"),
        ("server.port = true", "found true"),
        ("server.port = 5000.0", "found 5000.0"),
        ("server.port = 1979-05-27", "found 1979-05-27"),
        ("server.port.x = 1", "found a table"),
        ("server.host = '127.0.0.1:5000'", "without a port"),
        ("server.host = '1.2.3.400'", "without a port"),
        ("server.allowed_hosts = 'a'", "a list, each item a host name or an IP address"),
        ("server.allowed_hosts = ['a', 3]", "found 3"),
        ("server.body_timeout = 0", "above 0"),
        ("server.drain_timeout = -1", "0 or more"),
        ("server.drain_timeout = nan", "found nan"),
        ("server.drain_timeout = inf", "found inf"),
        ("server.drain_timeout = '5 minutes'", '"30s", "5m" or "2h"'),
        ("server.drain_timeout = false", "found false"),
        ("server.drain_timeout = 1e300", "found 1e+300"),
        ("limits.max_memory_percent = 0", "above 0, at most 100, found 0"),
        ("limits.max_memory_percent = '50'", 'found "50"'),
        ("limits.max_body = '1.5 elephants'", '"64KiB", "512MiB", "1GB"'),
        ("limits.max_body = -1", "found -1"),
        ("limits.max_body = 10000000000000000000", "a huge number"),
        ("limits.task_memory = 512", "at least 1MiB"),
        ('limits.memory_tiers = ["1GiB", "1GiB"]', "each above the one before"),
        (f"queue.size = 0x{'f' * 9000}", "a huge number"),
        ("queue.size = 0", "found 0"),
        ("executor.max_workers = 0", "from 1 to 4096"),
        ("executor.min_workers = 5", "at most executor.max_workers, which is 4 (default), found 5"),
        ("limits.task_timeout = '2d'", "limits.max_task_timeout, which is 86400 (default)"),
        ("tasks.functions.f.timeout = '2d'", "limits.max_task_timeout, which is 86400 (default)"),
        ("logging.level = 'LOUD'", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("logging.format = 1", "one of text, json, found 1"),
        ("store.url = 'postgresql://me:p@/w@host/db'", 'found "postgresql://***@host/db"'),
        ("store.url = 'sqlite:///'", '"memory:"'),
        ("tasks.modules = ['a-b']", "the name of a Python module"),
        ("tasks.functions = 1", "tasks.functions: expected a table, found an integer"),
        ("tasks.functions.f = 1", "tasks.functions.f: expected a table, found an integer"),
        ("tasks.functions.f.isolation = 'none'", "one of pooled, fresh, sandboxed"),
        ("queue = 1", "queue: expected a table, found an integer"),
        ("[[queue]]", "queue: expected a table, found a list"),
        ("auth.token = ''", "visible ASCII"),
        ("auth.token = 'two words'", "visible ASCII"),
        ('auth.token_file = "a\\u0000"', "the path of a file"),
        ("port = 3", 'port: unknown key; did you mean "server.port"?'),
        ("[queue.inner]\nsize = 1", "queue.inner: unknown key"),
        ("[server]\nmax_workers = 3", 'did you mean "executor.max_workers"?'),
        ("[zzzzzzz]\na = 1", "zzzzzzz: unknown section"),
        ("[tasks.function.f]\ntimeout = 1", 'did you mean "tasks.functions"?'),
    ],
)
def test_an_impossible_entry_is_one_fault(file: Path, entry: str, message: str) -> None:
    (fault,) = faults_of(file, f"# head\n{entry}\n")
    assert message in str(fault)
    assert fault.line in (2, 3)
    assert len(str(fault)) < 300


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"[queue]\nsize 3\n", 2, "not valid TOML: Expected '=' after a key"),
        (b"[queue]\nsize = 1\nsize = 2\n", 3, "not valid TOML: Cannot overwrite a value"),
        (b"[queue]\n\ntext = '''", 3, "not valid TOML: "),
        (b"a = 1\nb = \xff\n", 2, "expected UTF-8 text, found byte 0xff"),
        (b"a = " + b"[" * 100_000, None, "nested too deeply"),
        (b"a = " + b"9" * 5000, None, "too many digits"),
        (b"#" * (2**20 + 1), None, "larger than 1MiB"),
    ],
)
def test_what_is_no_toml_is_one_fault(
    file: Path, content: bytes, line: int | None, message: str
) -> None:
    (fault,) = faults_of(file, content)
    assert (fault.line, fault.key) == (line, None)
    assert message in str(fault)


def test_the_faults_of_a_file_are_in_the_order_of_its_lines(file: Path) -> None:
    found = faults_of(file, "server.port = -1\nqueue.size = 0\nserver.host = ''\n")
    assert [fault.line for fault in found] == [1, 2, 3]


def test_a_broken_file_does_not_hide_the_faults_of_other_sources(file: Path) -> None:
    found = faults_of(file, "=", {"MAX_WORKERS": "many"})
    assert [fault.source for fault in found] == ["worker.toml", "MAX_WORKERS"]


def test_a_fault_counts_even_where_a_later_source_wins(file: Path) -> None:
    (fault,) = faults_of(file, "server.port = 'x'", {"WORKER_PORT": "1"})
    assert fault.source == "worker.toml"


def test_a_bound_that_is_at_fault_itself_binds_nothing(file: Path) -> None:
    (fault,) = faults_of(file, "executor.max_workers = 'x'\nexecutor.min_workers = 9\n")
    assert fault.key == "executor.max_workers"


def test_a_directory_is_one_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the file cannot be read: is a directory$") as caught:
        load(tmp_path, {}, {})
    assert len(caught.value.faults) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_fault(file: Path) -> None:
    file.touch(mode=0o000)
    with pytest.raises(ConfigError, match=r"the file cannot be read: permission denied$"):
        load(file, {}, {})


def test_a_usual_file_that_cannot_be_looked_at_is_not_passed_over(file: Path) -> None:
    Path("config").mkdir()
    Path("config/worker.toml").symlink_to("worker.toml")
    with pytest.raises(ConfigError, match="the file cannot be read"):
        load(None, {}, {})
    assert not file.exists()


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("VERA_LIMITS__KILL_GRACEE", "VERA_LIMITS__KILL_GRACE"),
        ("VERA_LIMIT__KILL_GRACE", "VERA_LIMITS__KILL_GRACE"),
        ("VERA_limits__kill_grace", "VERA_LIMITS__KILL_GRACE"),
        ("VERA_SERVER__PORT", "WORKER_PORT"),
        ("VERA_QUEUE__ZZZ", None),
    ],
)
def test_an_unknown_variable_is_told_the_nearest_known_one(
    variable: str, meant: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: "1"}, {})
    (fault,) = caught.value.faults
    assert (fault.source, fault.nearest) == (variable, meant)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("limits.task_timout", "limits.task_timeout"),
        ("limits.timeout", "limits.task_timeout"),
        ("queue.max_workers", "executor.max_workers"),
        ("server.qqqq", None),
    ],
)
def test_the_nearest_key_is_of_the_same_section_where_two_are_alike(
    name: str, meant: str | None
) -> None:
    assert nearest(name, KEYS) == meant


def test_nothing_is_near_where_nothing_is_known() -> None:
    assert nearest("a.b", ()) is None


@given(st.text(), st.text(), st.text())
def test_a_fault_is_one_printable_line_whatever_it_repeats(
    source: str, key: str, found: str
) -> None:
    fault = Fault(source=source, line=1, key=key, message=f"found {quoted(found)}", nearest=key)
    assert str(fault).isprintable()
    assert one_line(str(fault)) == str(fault)
