"""The unit files, as systemd's own checks see them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vera_supervisor.config import load

_UNITS = Path(__file__).parents[2] / "systemd"
_NAMES = ["vera-worker.service", "vera-worker@.service"]

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def unit_for_this_host(directory: Path, name: str) -> Path:
    """Return a copy, an instance of a template, whose program is there: the check looks for it."""
    text = (_UNITS / name).read_text().replace("/opt/vera-worker/bin/python", sys.executable)
    copy = directory / name.replace("@.", "@one.")
    copy.write_text(text)
    return copy


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@analyze
@pytest.mark.parametrize("name", _NAMES)
def test_systemd_finds_no_fault(tmp_path: Path, name: str) -> None:
    run("systemd-analyze", "verify", unit_for_this_host(tmp_path, name))


@analyze
@pytest.mark.parametrize("name", _NAMES)
def test_the_exposure_is_at_most_two(tmp_path: Path, name: str) -> None:
    unit = unit_for_this_host(tmp_path, name)
    run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)


def test_the_template_differs_only_in_its_names() -> None:
    one, many = ((_UNITS / name).read_text().splitlines() for name in _NAMES)
    differing = [line for line in many if line not in one]
    assert len(one) == len(many)
    assert all("%i" in line for line in differing), differing


@pytest.mark.parametrize("name", _NAMES)
def test_what_the_worker_relies_on(name: str) -> None:
    """C5: each of these lines stands for a promise that would break without it."""
    lines = (_UNITS / name).read_text().splitlines()
    promised = {
        "Type=notify",  # started means that a task would start
        "NotifyAccess=main",  # tasks do not speak for the worker
        "Restart=on-failure",
        "KillMode=mixed",  # the worker ends its executors; what is left after that is killed
        "OOMPolicy=continue",  # a task that runs out of memory fails alone
        "Delegate=yes",
        "DynamicUser=yes",
        "SyslogLevelPrefix=yes",
    }
    assert promised <= set(lines)
    assert any(line.startswith("WatchdogSec=") for line in lines)


@pytest.mark.parametrize("name", _NAMES)
def test_what_fails_is_tried_again_until_it_is_mended(name: str) -> None:
    """A port that is taken, or a disk that is full, may be so for longer than any patience."""
    numbers = dict(
        re.findall(r"^(\w+)=(\d+)(?:s|min)?$", (_UNITS / name).read_text(), re.MULTILINE)
    )
    interval_s = 60 * int(numbers["StartLimitIntervalSec"])
    assert int(numbers["StartLimitBurst"]) * int(numbers["RestartSec"]) >= interval_s
    # Except for what is wrong in the configuration.
    assert numbers["RestartPreventExitStatus"] == "2"


def test_a_stop_has_time_for_the_drain_of_the_settings() -> None:
    config = load(_UNITS.parent / "config" / "worker.toml", {}, {}).config
    for name in _NAMES:
        (timeout,) = re.findall(
            r"^TimeoutStopSec=(\d+)s$", (_UNITS / name).read_text(), re.MULTILINE
        )
        assert int(timeout) >= config.server.drain_timeout + 10
