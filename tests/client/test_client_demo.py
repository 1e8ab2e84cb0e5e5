"""`demo`: its arithmetic, its worker, and all of it once with a stand-in for the worker."""

import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.conftest import Run
from tests.client.fake_worker import failed, record
from vera_client.commands.demo import fields
from vera_client.demo.own_worker import DemoFault, environment, own_worker
from vera_client.demo.summary import percentile, summarise
from vera_client.demo.workload import Seen, directly, library_files, outcome_of
from vera_client.records import TaskRecord

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1)


@given(NUMBERS, st.floats(0, 100))
def test_a_percentile_is_the_least_that_is_enough(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100
    assert sum(value < found for value in values) <= len(values) * percent / 100


def test_percentiles_of_a_hundred_and_of_none() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert [percentile(hundred, p) for p in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([], 50) == 0


SEEN = {
    "good.py": Seen(7, 0.1),
    "other.py": Seen(8, 0.2),
    "no_python.py": Seen("ValueError", 0.3),
    "lost.py": Seen("timeout", 0.4),
}
DIRECT = {"good.py": 7, "other.py": 9, "no_python.py": "ValueError", "lost.py": 5}


def test_a_summary_counts_and_compares() -> None:
    summary = summarise(SEEN, DIRECT, wall_s=2.0, executors=2)
    assert (summary.files, summary.nodes, summary.tasks_per_s) == (4, 15, 2.0)
    assert (summary.failures_expected, summary.failures_unexpected) == (1, 1)
    assert summary.mismatches == ["lost.py", "other.py"]
    assert (summary.latency_p50_s, summary.latency_p99_s) == (0.2, 0.4)
    assert not summary.good
    told = dict(fields(summary))
    assert told["latency"] == "p50 200 ms, p95 400 ms, p99 400 ms"
    assert told["mismatches"].startswith("2 ")


def test_a_file_that_is_missing_or_fails_otherwise_is_a_mismatch() -> None:
    seen = {"a.py": Seen("MemoryError", 0.1)}
    direct: dict[str, int | str] = {"a.py": "ValueError", "b.py": 1}
    assert summarise(seen, direct, 1.0, 1).mismatches == ["a.py", "b.py"]


@given(st.dictionaries(st.text(), st.integers(0) | st.just("ValueError")))
def test_what_agrees_is_good(direct: dict[str, int | str]) -> None:
    seen = {path: Seen(outcome, 0.0) for path, outcome in direct.items()}
    summary = summarise(seen, direct, 0.0, 1)
    assert summary.good
    assert summary.failures_unexpected == 0
    assert summary.failures_expected == sum(o == "ValueError" for o in direct.values())


def test_the_outcome_of_a_task_is_its_number_or_its_error() -> None:
    def of(raw: dict[str, object]) -> object:
        return outcome_of(msgspec.convert(raw, TaskRecord))

    assert of(record(result=5)) == 5
    assert of(record("failed", error="lost")) == "lost"
    assert of(failed("exception", type="ValueError")) == "ValueError"


def test_every_file_of_the_library_is_found(tmp_path: Path) -> None:
    for name in ("b.py", "a.py", "data.txt", "test/t.py", "site-packages/x.py", "__pycache__/y.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = [os.path.relpath(path, tmp_path) for path in library_files(str(tmp_path))]
    assert found == ["a.py", "b.py", "test/t.py"]
    ours = library_files()
    assert len(ours) == len(set(ours)) > 500
    assert not any("site-packages" in path for path in ours)


def test_no_setting_of_the_caller_reaches_the_worker() -> None:
    caller = {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"relative{os.pathsep}/absolute",
        "VERA_CONFIG": "/etc/mine.toml",
        "VERA_SERVER__DRAIN_TIMEOUT": "0",
        "WORKER_TOKEN": "secret",
        "WORKER_PORT": "80",
        "LOG_FORMAT": "json",
        "TASK_TIMEOUT": "1",
        "STORE_URL": "sqlite:///mine.db",
        "MIN_WORKERS": "9",
        "NOTIFY_SOCKET": "/run/notify",
    }
    assert environment(caller, cores=3, queue_size=50) == {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{os.path.abspath('relative')}{os.pathsep}/absolute",
        "WORKER_ID": "demo",
        "WORKER_HOST": "127.0.0.1",
        "STORE_URL": "memory:",
        "TASK_MODULES": "vera_executor.demo",
        "MAX_WORKERS": "3",
        "QUEUE_SIZE": "50",
        "MAX_CPU_PERCENT": "100",
        "MAX_MEMORY_PERCENT": "100",
    }


READY = """\
import json, os, signal, sys
from pathlib import Path
fd = int(sys.argv[sys.argv.index("--ready-fd") + 1])
home = {"cwd": os.getcwd(), "files": [str(p) for p in Path().rglob("*.toml")]}
Path(__file__).with_name("seen.json").write_text(json.dumps(home | {"argv": sys.argv[1:]}))
"""
WAITS = """\
signal.signal(signal.SIGTERM, lambda *_: sys.exit(CODE))
os.write(fd, b'{"url": "http://127.0.0.1:1"}\\n')
os.close(fd)
signal.pause()
"""
SERVES = """\
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from vera_executor.demo import count_ast_nodes

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        nodes = count_ast_nodes(*body["payload"]["args"])
        done = {"task_id": body["task_id"], "status": "completed", "result": nodes}
        self.say(json.dumps(done).encode())

    def do_GET(self):
        self.say(b'executors{state="idle"} 2.0\\n')

    def say(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
signal.signal(signal.SIGTERM, lambda *_: os._exit(CODE))
os.write(fd, json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}).encode() + b"\\n")
os.close(fd)
server.serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is found before the real one; its __main__.py is for the test to write."""
    package = tmp_path / "stand_in" / "vera_supervisor"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return package / "__main__.py"


def test_a_worker_of_our_own_comes_and_goes(stand_in: Path) -> None:
    stand_in.write_text(READY + WAITS.replace("CODE", "0"))
    with own_worker(2, 100) as worker:
        assert worker.url == "http://127.0.0.1:1"
        seen = json.loads(stand_in.with_name("seen.json").read_text())
        assert seen["argv"][:4] == ["serve", "--port", "0", "--ready-fd"]
        assert seen["files"] == ["config/worker.toml"]
        assert (Path(seen["cwd"]) / "config/worker.toml").read_text() == ""
        worker.stop()
    assert not Path(seen["cwd"]).exists()


def test_a_worker_that_stops_badly_is_a_fault(stand_in: Path) -> None:
    stop = "print('could not store', flush=True)\n"
    stand_in.write_text(READY + stop + WAITS.replace("CODE", "7"))
    with (
        own_worker(2, 100) as worker,
        pytest.raises(DemoFault, match=r"(?s)exit code 7; its last words:\ncould not store"),
    ):
        worker.stop()


def test_a_worker_that_does_not_start_shows_why(stand_in: Path, run: Run) -> None:
    stand_in.write_text("raise SystemExit('the port is taken')\n")
    result = run("", "demo", "--limit", "1")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the worker failed to start; its last words:\nthe port is taken\n"
    )


def test_a_worker_that_does_not_answer_ends_the_demo(stand_in: Path, run: Run) -> None:
    stand_in.write_text(READY + WAITS.replace("CODE", "0"))
    result = run("", "demo", "--limit", "1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no worker answers at http://127.0.0.1:1: ")


def test_all_of_it(stand_in: Path, run: Run) -> None:
    stand_in.write_text(READY + SERVES.replace("CODE", "0"))
    result = run("", "demo", "--limit", "3")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("the worker stopped cleanly\n")
    told = dict(line.split("  ", 1) for line in result.stdout.splitlines() if "  " in line)
    assert told["files"].strip() == "3"
    assert told["executors"].strip() == "2"
    assert told["mismatches"].strip().startswith("0 ")
    assert told["unexpected failures"].strip() == "0"


def test_a_disagreement_is_exit_1(
    stand_in: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(files: list[str], _processes: int) -> list[tuple[str, int]]:
        return [(path, -1) for path in files]

    monkeypatch.setattr("vera_client.commands.demo.directly", wrong)
    stand_in.write_text(READY + SERVES.replace("CODE", "0"))
    result = run("", "demo", "--limit", "2", "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)["mismatches"]) == 2
    assert "disagree" in result.stderr


def test_direct_calls_tell_numbers_and_errors(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("x = 1\n")
    bad.write_text("x = = 1\n")
    nodes, error = (outcome for _, outcome in directly([str(good), str(bad)], 1))
    assert isinstance(nodes, int)
    assert error == "ValueError"
