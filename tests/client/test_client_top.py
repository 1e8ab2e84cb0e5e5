"""`top`: one frame, frame after frame, and without a terminal."""

import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from tests.client.conftest import Run
from tests.client.fake_worker import FakeWorker, failed, problem, record
from vera_client.client import Client
from vera_client.commands.frame import Glance, frame
from vera_client.commands.top import look, watch

NOW = datetime(2025, 1, 15, 10, 0, 31, tzinfo=UTC)
HEALTH = {
    "status": "degraded",
    "worker_id": "w-[1]",
    "cpu_percent": 45.2,
    "memory_percent": 92.1,
    "reasons": ["memory is short [soft]"],
}
METRICS = {
    "tasks_completed": 156,
    "tasks_failed": 2,
    "tasks_cancelled": 1,
    "average_execution_time": 12.5,
    "uptime_seconds": 86400,
    "cpu_cores": 8,
    "memory_total_gb": 16,
}
GAUGES = """\
queue_size{priority="critical"} 0.0
queue_size{priority="high"} 1.0
queue_size{priority="low"} 3.0
executors{state="busy"} 2.0
executors{state="idle"} 1.0
executors{state="killing"} 0.0
"""


@pytest.fixture
def busy(fake: FakeWorker) -> FakeWorker:
    fake.on("GET /health", HEALTH).on("GET /metrics", METRICS)
    fake.on("GET /metrics/prometheus", GAUGES)
    running = record("running", progress={"fraction": 0.4, "message": "half"})
    # The first question is for the running ones, the second for those that failed.
    fake.on("GET /tasks", *[{"tasks": [running]}, {"tasks": [failed("crashed")]}] * 3)
    return fake


def lines_of(glance: Glance, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(frame(glance, NOW))
    assert isinstance(console.file, io.StringIO)
    return [line.strip("│ ") for line in console.file.getvalue().splitlines()]


def test_a_frame_shows_everything(busy: FakeWorker) -> None:
    with Client(busy.url) as worker:
        lines = lines_of(look(worker))
    text = "\n".join(lines)
    assert "w-[1]  degraded  up 24 h 0 min  156 completed, 2 failed, 1 cancelled" in text
    assert "45 % of 8 cores" in text
    assert "92 % of 16.0 GB" in text
    assert "! memory is short [soft]" in lines
    assert "2 busy, 1 idle" in lines
    assert 't-1  add(1, 2, mode="fast")  30.0 s  40 %' in lines
    assert any(line.startswith("high ") and line.endswith(" 1") for line in lines)
    assert any(line.startswith("normal ") and line.endswith(" 0") for line in lines)
    assert any(line.endswith("t-1  add  crashed  it took longer than 5 s") for line in lines)


def test_a_frame_shows_each_of_several_pools(busy: FakeWorker) -> None:
    pools = {
        "default": {"max_workers": 4, "queued": 0, "executors": {"busy": 0, "idle": 1}},
        "gpu": {"max_workers": 2, "queued": 7, "executors": {"busy": 2, "idle": 0}},
        "archive": {"max_workers": 1, "queued": 0, "executors": {"busy": 0}},
    }
    busy.on("GET /health", HEALTH | {"pools": pools})
    with Client(busy.url) as worker:
        lines = lines_of(look(worker))
    assert "default  at most 4  1 idle" in lines
    assert "gpu      at most 2  2 busy  7 waiting" in lines
    assert "archive  at most 1  none" in lines
    assert "2 busy, 1 idle" not in lines


def test_a_frame_of_a_fresh_worker_is_whole(fake: FakeWorker) -> None:
    fake.on("GET /health", {"status": "healthy"}).on("GET /metrics", {})
    fake.on("GET /metrics/prometheus", "").on("GET /tasks", {"tasks": []})
    with Client(fake.url) as worker:
        lines = lines_of(look(worker), width=40)
    assert lines.count("none") == 2


def test_without_a_terminal_there_is_one_frame(run: Run, busy: FakeWorker) -> None:
    result = run(busy.url, "top")
    assert result.exit_code == 0
    assert "2 busy, 1 idle" in result.stdout
    assert "\x1b" not in result.stdout


def test_as_json_it_is_what_the_worker_said(run: Run, busy: FakeWorker) -> None:
    said = json.loads(run(busy.url, "top", "--json").stdout)
    assert said["health"] == HEALTH
    assert said["metrics"] == METRICS
    assert [task["status"] for task in (said["running"] | said["failed"])["tasks"]] == ["failed"]


def test_it_goes_on_until_interrupted_even_while_the_worker_is_away(busy: FakeWorker) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            busy.on("GET /health", problem(500, "It is not well."))
        if len(slept) == 3:
            raise KeyboardInterrupt

    with Client(busy.url) as worker:
        watch(worker, console, 2.5, sleep)
    assert slept == [2.5, 2.5, 2.5]
    assert isinstance(console.file, io.StringIO)
    assert "2 busy, 1 idle" in console.file.getvalue()
    assert "It is not well." in console.file.getvalue()
