"""Where values come from, and which of them wins."""

from pathlib import Path
from typing import Any

import pytest

from vera_supervisor.config import KEYS, Config, ConfigError, FunctionLimits, load
from vera_supervisor.config.key_paths import flatten
from vera_supervisor.config.toml_file import USUAL_PLACES

ENVIRONMENT = [
    ("WORKER_ID", "worker.id", "node 7", "node 7"),
    ("WORKER_HOST", "server.host", "0.0.0.0", "0.0.0.0"),
    ("WORKER_PORT", "server.port", "6000", 6000),
    ("LOG_LEVEL", "logging.level", "debug", "DEBUG"),
    ("LOG_FORMAT", "logging.format", "JSON", "json"),
    ("MAX_WORKERS", "executor.max_workers", " 8 ", 8),
    ("MIN_WORKERS", "executor.min_workers", "0", 0),
    ("QUEUE_SIZE", "queue.size", "7", 7),
    ("MAX_CPU_PERCENT", "limits.max_cpu_percent", "55.5", 55.5),
    ("MAX_MEMORY_PERCENT", "limits.max_memory_percent", "100", 100.0),
    ("TASK_TIMEOUT", "limits.task_timeout", "5m", 300.0),
    ("TASK_MEMORY", "limits.task_memory", "512MiB", 512 * 2**20),
    ("HEALTH_CHECK_INTERVAL", "health.check_interval", "0.5", 0.5),
    ("STORE_URL", "store.url", "memory:", "memory:"),
    ("RESULT_TTL", "store.result_ttl", "2h", 7200.0),
    ("TASK_MODULES", "tasks.modules", "a.b, c,,", ("a.b", "c")),
    ("WORKER_TOKEN", "auth.token", "s3cret", "s3cret"),
    ("VERA_LIMITS__KILL_GRACE", "limits.kill_grace", "0", 0.0),
    ("VERA_SERVER__ALLOWED_HOSTS", "server.allowed_hosts", "a.example,::1", ("a.example", "::1")),
    ("VERA_STORE__MAX_BYTES", "store.max_bytes", "1GB", 10**9),
    ("VERA_AUTH__TOKEN_FILE", "auth.token_file", "/run/token", "/run/token"),
]


def write(file: str, text: str) -> Path:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def value_of(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def test_without_any_source_everything_is_default() -> None:
    loaded = load(None, {}, {})
    assert loaded.config == Config()
    assert loaded.file is None
    assert set(loaded.config.origins) == set(KEYS)
    assert set(loaded.config.origins.values()) == {"default"}


@pytest.mark.parametrize(("variable", "key", "text", "value"), ENVIRONMENT)
def test_each_environment_variable_sets_its_key_and_nothing_else(
    variable: str, key: str, text: str, value: object
) -> None:
    loaded = load(None, {variable: text}, {})
    assert value_of(loaded.config, key) == value
    assert loaded.config.origins[key] == variable
    others = {name: origin for name, origin in loaded.config.origins.items() if name != key}
    assert set(others.values()) == {"default"}


def test_every_key_has_one_environment_variable_of_its_own() -> None:
    variables = [key.env for key in KEYS.values()]
    assert len(set(variables)) == len(variables)
    contract = {variable: key for variable, key, *_ in ENVIRONMENT}
    assert {KEYS[key].env: key for key in contract.values()} == contract
    rest = {key: known.env for key, known in KEYS.items() if known.env.startswith("VERA_")}
    assert all(env == "VERA_" + key.upper().replace(".", "__") for key, env in rest.items())


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_not_set(text: str) -> None:
    assert load(None, {variable: text for variable, *_ in ENVIRONMENT}, {}).config == Config()


def test_variables_of_others_are_left_alone() -> None:
    others = {"VERA_URL": "http://x", "VERA_TOKEN": "t", "VERA_RUN": "1", "A__B": "2", "PORT": "3"}
    assert load(None, others, {}).config == Config()


def test_a_later_source_wins() -> None:
    file = write("w.toml", "[server]\nport = 1\nhost = '::'\n\n[queue]\nsize = 5\n")
    environ = {"WORKER_PORT": "2", "QUEUE_SIZE": "6"}
    loaded = load(file, environ, {"server.port": 3, "server.host": None})
    assert (loaded.config.server.port, loaded.config.queue.size) == (3, 6)
    assert loaded.config.server.host == "::"
    assert loaded.config.origins["server.port"] == "--port"
    assert loaded.config.origins["server.host"] == "w.toml:3"
    assert loaded.config.origins["queue.size"] == "QUEUE_SIZE"
    assert loaded.config.origins["store.url"] == "default"


def test_a_flag_may_be_text_and_is_named_as_it_is_typed() -> None:
    loaded = load(None, {}, {"limits.task_timeout": "2m", "executor.max_workers": "9"})
    assert (loaded.config.limits.task_timeout, loaded.config.executor.max_workers) == (120.0, 9)
    assert loaded.config.origins["limits.task_timeout"] == "--task-timeout"


def test_a_flag_that_is_no_key_is_a_mistake_of_the_program() -> None:
    with pytest.raises(KeyError):
        load(None, {}, {"server.prot": 1})


def test_the_file_is_the_named_one_or_the_first_that_exists(tmp_path: Path) -> None:
    for name, size in (("flag.toml", 1), ("env.toml", 2), ("config/worker.toml", 3)):
        write(name, f"queue.size = {size}")
    write("etc", "queue.size = 4")
    environ = {"VERA_CONFIG": "env.toml"}
    assert load(Path("flag.toml"), environ, {}).config.queue.size == 1
    assert load(None, environ, {}).config.queue.size == 2
    assert load(None, {"VERA_CONFIG": ""}, {}).config.queue.size == 3
    Path("config/worker.toml").unlink()
    loaded = load(None, {}, {})
    assert loaded.config.queue.size == 4
    assert loaded.file == tmp_path / "etc"


def test_the_usual_places_are_those_of_the_manual() -> None:
    assert (Path("config/worker.toml"), Path("/etc/vera-worker/worker.toml")) == USUAL_PLACES


@pytest.mark.parametrize("environ", [{}, {"VERA_CONFIG": "gone.toml"}])
def test_a_named_file_that_is_missing_is_a_fault(environ: dict[str, str]) -> None:
    path = None if environ else Path("gone.toml")
    write("config/worker.toml", "")
    with pytest.raises(ConfigError, match=r"gone\.toml: there is no such file"):
        load(path, environ, {})


def test_functions_have_limits_of_their_own() -> None:
    file = write(
        "w.toml",
        "[tasks.functions.resize]\n"
        "timeout = '2m'\nmemory = '1GiB'\nmax_retries = 3\nretry_delay = 0.5\n"
        "priority = 'High'\nmax_concurrency = 2\nisolation = 'fresh'\n"
        "[tasks.functions.'a b.c']\ntimeout = 1\n"
        "[tasks.functions.empty]\n",
    )
    loaded = load(file, {}, {})
    resize = loaded.config.tasks.functions["resize"]
    assert resize == FunctionLimits(
        timeout=120.0,
        memory=2**30,
        max_retries=3,
        retry_delay=0.5,
        priority=resize.priority,
        max_concurrency=2,
        isolation=resize.isolation,
    )
    assert (resize.priority, resize.isolation) == ("high", "fresh")
    assert loaded.config.tasks.functions["a b.c"] == FunctionLimits(timeout=1.0)
    assert loaded.config.origins["tasks.functions.resize.priority"] == "w.toml:6"
    assert loaded.config.origins['tasks.functions."a b.c".timeout'] == "w.toml:10"


def test_a_byte_order_mark_and_windows_lines_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_bytes(b"\xef\xbb\xbf[queue]\r\nsize = 9\r\n")
    loaded = load(file, {}, {})
    assert loaded.config.queue.size == 9
    assert loaded.config.origins["queue.size"].endswith("w.toml:2")


def test_a_default_gives_way_to_the_key_that_bounds_it() -> None:
    loaded = load(None, {"VERA_LIMITS__MAX_TASK_TIMEOUT": "60"}, {})
    assert loaded.config.limits.task_timeout == 60.0
    expected = "default, capped by limits.max_task_timeout"
    assert loaded.config.origins["limits.task_timeout"] == expected


def test_one_executor_at_most_needs_no_second_setting() -> None:
    executor = load(None, {"MAX_WORKERS": "1"}, {}).config.executor
    assert (executor.min_workers, executor.max_workers) == (1, 1)


def test_each_default_is_a_value_that_its_kind_accepts() -> None:
    for path, (key, value) in flatten(Config()).items():
        assert key.default == value, path
        if value is not None:
            assert key.kind.read(key.kind.to_toml(value)) == value, path
            assert type(key.kind.read(key.kind.to_toml(value))) is type(value), path
