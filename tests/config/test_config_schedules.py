"""The tables [[schedules]] of the file."""

import json

import pytest
from click.testing import CliRunner

from tests.support.config_files import faults, loaded
from vera_supervisor.commands.config import config as command
from vera_supervisor.config import Config, Schedule, changes
from vera_supervisor.recurrence import MissedRun
from vera_worker.tasks import Priority

TWO = """\
[[schedules]]
name = "nightly"
cron = "30 3 * * MON-FRI"
function = "report"
args = [1, "two", [3.5, true], {four = 4}]
priority = "LOW"
timeout = "10m"
timezone = "Europe/Berlin"
missed = "run_once"
[schedules.kwargs]
mode = "fast"

[[schedules]]
name = "tick"
cron = "* * * * *"
function = "noop"
"""


CRON = 'a cron expression of five fields that is due at some time, such as "30 3 * * MON-FRI"'
FAULTS = f"""\
worker.toml:3: schedules.nightly.cron: expected {CRON}, found "0 3 30 2 *"
worker.toml:6: schedules.2.name: \
expected a name of 1 to 64 letters, digits, "_" and "-", found nothing
worker.toml:6: schedules.2.cron: expected {CRON}, found nothing
worker.toml:6: schedules.2.function: expected the name of a function, found nothing
worker.toml:7: schedules.2.corn: unknown key; did you mean "schedules.2.cron"?
worker.toml:8: schedules.2.timezone: \
expected a time zone of this machine, such as "Europe/Berlin", found "Mars/Base"
worker.toml:12: schedules.nightly.name: \
expected a name of its own, found that of another: "nightly"
worker.toml:9: schedules.2.timeout: \
expected at most limits.max_task_timeout, which is 86400 (default), found 259200"""


def one(*lines: str) -> str:
    """Return a file with one schedule, whose name, cron and function can be replaced."""
    given = {line.partition(" = ")[0] for line in lines}
    usual = {"name": "a", "cron": "* * * * *", "function": "noop"}
    rest = (f'{key} = "{value}"' for key, value in usual.items() if key not in given)
    return "\n".join(("[[schedules]]", *lines, *rest))


def test_each_table_is_a_schedule_in_the_order_of_the_file() -> None:
    assert loaded(TWO).schedules == (
        Schedule(
            name="nightly",
            cron="30 3 * * MON-FRI",
            function="report",
            args=(1, "two", [3.5, True], {"four": 4}),
            kwargs={"mode": "fast"},
            priority=Priority.LOW,
            timeout=600.0,
            timezone="Europe/Berlin",
            missed=MissedRun.RUN_ONCE,
        ),
        Schedule(name="tick", cron="* * * * *", function="noop"),
    )
    assert loaded("").schedules == ()


def test_show_says_of_every_key_its_value_and_where_it_came_from() -> None:
    loaded(TWO)
    arguments = ["show", "--config", "worker.toml"]
    rows = CliRunner().invoke(command, arguments).stdout.splitlines()
    shown = dict(row.split(maxsplit=1) for row in rows if row.startswith("schedules."))
    assert shown["schedules.nightly.cron"].split("  ")[0] == "30 3 * * MON-FRI"
    assert shown["schedules.nightly.cron"].endswith("worker.toml:3")
    assert shown["schedules.nightly.kwargs"].endswith("worker.toml:10")
    assert shown["schedules.tick.cron"].endswith("worker.toml:15")
    assert shown["schedules.tick.missed"].split() == ["skip", "default"]
    told = json.loads(CliRunner().invoke(command, [*arguments, "--json"]).stdout)
    assert told["schedules.nightly.args"]["value"] == [1, "two", [3.5, True], {"four": 4}]
    assert told["schedules.nightly.timeout"] == {"value": 600, "origin": "worker.toml:7"}


def test_a_schedule_that_comes_or_goes_is_a_change_that_wants_a_restart() -> None:
    found = changes(Config(), loaded(one()))
    assert {change.key: change.new for change in found}["schedules.a.cron"] == "* * * * *"
    assert not any(change.reloadable for change in found)


def test_faults_name_line_key_and_what_was_meant() -> None:
    text = """\
[[schedules]]
name = "nightly"
cron = "0 3 30 2 *"
function = "noop"

[[schedules]]
corn = "* * * * *"
timezone = "Mars/Base"
timeout = "3d"

[[schedules]]
name = "nightly"
"""
    assert faults(text) == FAULTS.splitlines()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedules = 1", "schedules: expected tables [[schedules]], found an integer"),
        ("schedules = [1]", "schedules: expected tables [[schedules]], found a list"),
        ("[schedules]", "schedules: expected tables [[schedules]], found a table"),
        ("[[schedule]]", 'schedule: unknown section; did you mean "schedules"?'),
        (one("name = 'a b'"), 'letters, digits, "_" and "-", found "a b"'),
        (one("name = 3"), "schedules.1.name: expected a name of 1 to 64"),
        (one("cron = '* * * * * *'"), 'found "* * * * * *"'),
        (one("cron = 5"), "found 5"),
        (one("function = ''"), 'the name of a function, found ""'),
        (one("args = 1"), "expected a list of values that JSON has, found 1"),
        (one("args = [[nan]]"), "expected a list of values that JSON has, found nan"),
        (one("args = [1979-05-27]"), "values that JSON has, found 1979-05-27"),
        (one("kwargs = [1]"), "expected a table of values that JSON has, found a list"),
        (one("kwargs = {x = [{y = -inf}]}"), "a table of values that JSON has, found -inf"),
        (one(f"kwargs = {{x = {2**63}}}"), "found a huge number"),
        (one("timeout = 0"), "above 0"),
        (one("priority = 'urgent'"), "one of critical, high, normal, low"),
        (one("missed = 'twice'"), 'expected one of skip, run_once, found "twice"'),
    ],
)
def test_a_fault_is_one_sentence(text: str, message: str) -> None:
    (fault,) = faults(text)
    assert message in fault
