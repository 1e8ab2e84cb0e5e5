"""The code of task modules is taken up anew while the worker runs, or all stays as it was.

Old executors end the task that they run, with the code that they have; new tasks get the new code.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.patience import assert_ready, until, until_status
from tests.support.processes import alive, fork_servers
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.system]

OLD = """
import time

def version() -> str:
    return "old"

def wait_for(path: str) -> str:
    while not __import__("os").path.exists(path):
        time.sleep(0.01)
    return version()
"""
NEW = (
    OLD.replace('"old"', '"new code"')
    + '\ndef another(x: int) -> int:\n    "Be new."\n    return x\n'
)


class Deployment:
    """A worker whose task module can be written anew."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.gate = directory / "gate"
        self.write(OLD)
        settings = {"MAX_WORKERS": "2", "PYTHONPATH": str(directory)} | settings
        self.worker = WorkerProcess(directory, modules="our_tasks", **settings)

    def write(self, text: str, name: str = "our_tasks") -> None:
        (self.directory / f"{name}.py").write_text(text)

    def reload(self) -> Any:
        return self.worker.client.post("/admin/reload")

    def run(self, function: str, *args: Any) -> Any:
        return self.worker.submit(function, *args, wait=60)["result"]

    def submit(self, function: str, *args: Any) -> int:
        """Return the status of a submission."""
        body = {"payload": {"function": function, "args": args}}
        return self.worker.client.post("/task/submit", json=body).status_code

    def start_waiting(self) -> str:
        task_id: str = self.worker.submit("wait_for", str(self.gate))["task_id"]
        until_status(self.worker, task_id, "running")
        return task_id

    def functions(self) -> set[str]:
        answer = self.worker.client.get("/functions").json()
        return {function["name"] for function in answer["functions"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.worker.__exit__()


def test_new_tasks_get_new_code_old_ones_end_with_theirs_and_a_broken_edit_changes_nothing(
    site: Deployment,
) -> None:
    first = fork_servers(site.worker)
    running = site.start_waiting()
    assert site.submit("another", 1) == 422
    site.write(NEW)
    assert site.run("version") == "old", "nothing is taken up before it is asked for"
    answer = site.reload().json()
    assert_ready(site.worker)  # others are on their way
    assert answer["functions"] == {"added": ["another"], "removed": [], "changed": []}
    assert site.run("version") == "new code"
    assert site.run("another", 3) == 3
    assert site.functions() == {"version", "wait_for", "another"}
    assert len(fork_servers(site.worker)) == 2, "the old one is there as long as its task"

    site.write("import nothing_of_that_name\n")
    answer = site.reload()
    assert answer.status_code == 422
    assert "'our_tasks'" in answer.json()["detail"]
    assert "nothing_of_that_name" in answer.json()["detail"]
    assert site.run("version") == "new code"
    assert_ready(site.worker)
    assert site.functions() == {"version", "wait_for", "another"}

    site.gate.touch()
    record = site.worker.record(running, wait=60)
    assert (record["result"], record["attempt"]) == ("old", 1)
    until(lambda: not set(first) & set(fork_servers(site.worker)))

    site.write(NEW.replace("new code", "mended"))
    assert site.reload().status_code == 200
    assert site.run("version") == "mended"


def test_whatever_an_import_does_the_running_code_is_untouched(tmp_path: Path) -> None:
    """P9: the answer names the module and what is wrong with it."""
    file = tmp_path / "worker.toml"
    file.touch()
    site = Deployment(tmp_path, VERA_CONFIG=str(file))
    with site.worker:
        running = site.start_waiting()
        before = fork_servers(site.worker)
        for text, said in (
            ("import os\nos._exit(3)\n", "it ended the process that imported it"),
            ("def version(:\n", "SyntaxError"),
            ("raise SystemExit(4)\n", "SystemExit: 4"),
            ("import threading\nthreading.Event().wait()\n", "executor.start_timeout (0.5 s)"),
        ):
            if "start_timeout" in said:
                file.write_text("executor.start_timeout = 0.5\n")
            site.write(text)
            answer = site.reload()
            assert answer.status_code == 422
            assert "'our_tasks'" in answer.json()["detail"]
            assert said in answer.json()["detail"]
            assert site.run("version") == "old"
        site.gate.touch()
        assert site.worker.record(running, wait=60)["result"] == "old"
        until(lambda: fork_servers(site.worker) == before)


def test_tasks_of_a_function_that_is_gone_wait_for_it_at_no_cost(site: Deployment) -> None:
    """U4: a broken deployment that is taken back leaves no trace on the tasks that waited."""
    running = [site.start_waiting() for _ in range(2)]
    queued = site.worker.submit("version")["task_id"]
    delayed = site.worker.submit("version", delay=0.5)["task_id"]
    site.write(OLD.replace("def version", "def version_2").replace("version()", "version_2()"))
    assert site.reload().json()["functions"] == {
        "added": ["version_2"],
        "removed": ["version"],
        "changed": [],
    }
    assert site.submit("version") == 422
    site.gate.touch()
    for task_id in running:
        assert site.worker.record(task_id, wait=60)["result"] == "old"
    assert site.run("version_2") == "old"
    for task_id in (queued, delayed):
        until(lambda t=task_id: site.worker.record(t)["blocked_by"] == "unknown_function")  # type: ignore[misc]
        record = site.worker.record(task_id)
        assert (record["status"], record["attempt"], record["failure"]) == ("queued", 1, None)
    reasons = site.worker.client.get("/health").json()["reasons"]
    assert "2 tasks wait for the function 'version', which no task module offers" in reasons
    site.write(OLD.replace("old", "back again"))
    assert site.reload().status_code == 200
    for task_id in (queued, delayed):
        record = site.worker.record(task_id, wait=60)
        assert (record["result"], record["attempt"]) == ("back again", 1)


def test_limits_and_modules_are_reloaded_with_the_code(tmp_path: Path) -> None:
    """The function table: `[tasks.functions.NAME]` and `tasks.modules`."""
    file = tmp_path / "worker.toml"
    file.write_text('[tasks]\nmodules = ["our_tasks"]\n')
    site = Deployment(tmp_path, VERA_CONFIG=str(file), TASK_MODULES="")
    with site.worker:
        site.write("def extra() -> int:\n    return 1\n", "more_tasks")
        file.write_text(
            '[tasks]\nmodules = ["our_tasks", "more_tasks"]\n'
            "[tasks.functions.wait_for]\nmax_concurrency = 1\ntimeout = 200\n"
        )
        changes = site.reload().json()["changes"]
        assert [change["key"] for change in changes] == [
            "tasks.modules",
            "tasks.functions.wait_for.timeout",
            "tasks.functions.wait_for.max_concurrency",
        ]
        assert site.run("extra") == 1
        site.start_waiting()
        second = site.worker.submit("wait_for", str(site.gate))["task_id"]
        assert site.worker.record(second)["blocked_by"] == "concurrency"
        file.write_text('[tasks]\nmodules = ["our_tasks"]\n')
        assert site.reload().json()["functions"]["removed"] == ["extra"]
        until_status(site.worker, second, "running")
        site.gate.touch()
        assert site.worker.record(second, wait=60)["result"] == "old"


def test_a_pool_gets_other_variables_with_a_reload_and_another_pool_needs_a_restart(
    tmp_path: Path,
) -> None:
    file = tmp_path / "worker.toml"
    pool = '[pools.side]\nfunctions = ["version"]\nenvironment = {LEVEL = "one"}\n'
    file.write_text(pool)
    site = Deployment(tmp_path, VERA_CONFIG=str(file))
    with site.worker:
        site.write(OLD.replace('"old"', '__import__("os").environ["LEVEL"]'))
        file.write_text(pool.replace("one", "two"))
        assert site.reload().status_code == 200
        assert site.run("version") == "two"
        file.write_text(pool + '[pools.more]\nfunctions = ["wait_for"]\n')
        answer = site.reload()
        assert answer.status_code == 409
        assert "pools.more.functions" in answer.json()["detail"]
        assert site.run("version") == "two"


def test_a_killed_supervisor_leaves_no_process_of_any_generation(tmp_path: Path) -> None:
    """P2, with a third generation that is still being imported."""
    site = Deployment(tmp_path)
    with site.worker:
        site.start_waiting()
        site.write(NEW)
        assert site.reload().status_code == 200
        site.start_waiting()
        imported = tmp_path / "imported"
        site.write(f"import threading\nopen({str(imported)!r}, 'w')\nthreading.Event().wait()\n")
        site.worker.process.send_signal(signal.SIGHUP)
        until(imported.exists)
        servers = fork_servers(site.worker)
        assert len(servers) == 3
        site.worker.process.kill()
        site.worker.process.wait()
        until(lambda: not alive(site.worker.survivors()))


def test_a_worker_stops_although_new_code_is_being_imported(tmp_path: Path) -> None:
    site = Deployment(tmp_path)
    with site.worker, ThreadPoolExecutor() as threads:
        imported = tmp_path / "imported"
        site.write(f"import threading\nopen({str(imported)!r}, 'w')\nthreading.Event().wait()\n")
        asking = threads.submit(site.reload)
        until(imported.exists)
        assert site.worker.terminate() == 0
        assert isinstance(asking.exception(), httpx.RemoteProtocolError)
        assert alive(site.worker.survivors()) == []
        assert "Traceback" not in site.worker.log.read_text()


def test_a_worker_that_stops_ends_all_generations_once(tmp_path: Path) -> None:
    site = Deployment(tmp_path, VERA_SERVER__DRAIN_TIMEOUT="0.1")
    with site.worker:
        site.start_waiting()
        site.write(NEW)
        assert site.reload().status_code == 200
        site.start_waiting()
        assert site.worker.terminate() == 0
        assert alive(site.worker.survivors()) == []
        assert "Traceback" not in site.worker.log.read_text()
