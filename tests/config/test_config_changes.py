"""What a reload would find changed."""

from vera_supervisor.config import (
    FUNCTION_KEYS,
    RELOADABLE,
    Change,
    Config,
    Executor,
    FunctionLimits,
    Limits,
    Queue,
    Tasks,
    changes,
)


def test_equal_configurations_have_no_changes() -> None:
    assert changes(Config(), Config()) == []


def test_each_key_that_differs_is_one_change() -> None:
    new = Config(executor=Executor(max_workers=8, max_tasks=5), limits=Limits(memory=2**30))
    assert changes(Config(), new) == [
        Change(key="executor.max_workers", old=4, new=8, reloadable=True),
        Change(key="executor.max_tasks", old=0, new=5, reloadable=True),
        Change(key="limits.memory", old=None, new="1GiB", reloadable=False),
    ]


def test_a_change_reads_as_one_line() -> None:
    (change,) = changes(Config(), Config(queue=Queue(size=5)))
    assert str(change) == "queue.size: 100 -> 5"
    (change,) = changes(Config(limits=Limits(task_memory=2**20)), Config())
    assert str(change) == "limits.task_memory: 1MiB -> not set"


def test_functions_that_come_and_go_are_changes_of_their_keys() -> None:
    old = Config(tasks=Tasks(functions={"a": FunctionLimits(timeout=1.0, max_retries=2)}))
    new = Config(tasks=Tasks(functions={"a": FunctionLimits(timeout=1.0), "b c": FunctionLimits()}))
    assert [str(change) for change in changes(old, new)] == [
        "tasks.functions.a.max_retries: 2 -> not set"
    ]
    assert [change.key for change in changes(Config(), old)] == [
        "tasks.functions.a.timeout",
        "tasks.functions.a.max_retries",
    ]


def test_all_that_is_said_of_functions_is_reloadable() -> None:
    assert all(key.reloadable for key in FUNCTION_KEYS.values())


def test_the_reloadable_keys_are_those_of_the_manual() -> None:
    assert {
        "logging.level",
        "executor.max_workers",
        "executor.min_workers",
        "executor.start_timeout",
        "executor.idle_timeout",
        "executor.max_tasks",
        "executor.growth_delay",
        "executor.max_growth",
        "logging.format",
        "auth.token",
        "auth.token_file",
        "auth.tokens_file",
        "server.tls_cert",
        "server.tls_key",
        "server.tls_client_ca",
        "queue.size",
        "limits.max_cpu_percent",
        "limits.max_memory_percent",
        "limits.task_timeout",
        "limits.max_task_timeout",
        "limits.kill_grace",
        "limits.task_memory",
        "limits.memory_tiers",
        "limits.crash_retries",
        "health.check_interval",
        "tasks.modules",
    } == RELOADABLE
