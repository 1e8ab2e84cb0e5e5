"""S3: the supervisor unpickles nothing, and imports nothing by a name that it is sent."""

import base64
import pickle
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.http_answers import assert_problem
from tests.support.worker_process import WorkerFailedError, worker

pytestmark = pytest.mark.system

JSON = {"content-type": "application/json"}
#: Tells of all that is unpickled, and of imports that have our name.
HOOK = """
import os, sys
def hook(event, args):
    if event == "pickle.find_class" or event == "import" and "trap" in str(args[0]):
        with open(os.environ["HEARD"], "a") as heard:
            heard.write(f"{os.getpid()} {event} {args}\\n")
sys.addaudithook(hook)
"""


class Trap:
    """Leaves a trace wherever it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.trace,))


def test_the_supervisor_unpickles_and_imports_nothing_that_it_is_sent(tmp_path: Path) -> None:
    """Nor does it where a request, a frame of an executor or the database holds a pickle."""
    trace, heard = tmp_path / "trace", tmp_path / "heard"
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    (tmp_path / "trap_module.py").write_text(f"open({str(trace)!r}, 'w')\n")
    trap = pickle.dumps(Trap(trace))
    settings = {
        "PYTHONPATH": str(tmp_path),
        "HEARD": str(heard),
        "STORE_URL": "sqlite:///var/tasks.db",
    }
    heard.touch()
    database = tmp_path / "var" / "tasks.db"
    with worker(tmp_path, **settings) as node:
        assert_problem(node.client.post("/task/submit", content=trap, headers=JSON), 400)
        for name in ("trap_module", "trap_module.run", "trap_module:run"):
            refused = node.client.post("/task/submit", json={"payload": {"function": name}})
            assert_problem(refused, 422, "payload.function")
        text = base64.b64encode(trap).decode()
        node.submit("echo", text, trap.decode("latin-1"), wait=60, metadata=text, tags=["trap"])
        node.submit("garbage_frame", wait=60)
        node.submit("echo", "x" * 100, task_id="planted", wait=60)
        assert node.terminate() == 0
        pids = {str(node.process.pid)}
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        columns = [row[1] for row in connection.execute("pragma table_info(tasks)")]
        for column in columns:
            row = connection.execute(f"select typeof({column}) from tasks limit 1").fetchone()
            if row[0] == "blob":
                connection.execute(f"update tasks set {column} = ?", (trap,))
    with suppress(WorkerFailedError), worker(tmp_path, **settings) as node:
        pids.add(str(node.process.pid))  # it may as well refuse a database that is damaged
        node.client.get("/task/planted")
        node.client.get("/tasks")
    assert not trace.exists()
    speakers = [line.split()[0] for line in heard.read_text().splitlines()]
    assert speakers, "the hook hears nothing, not even how executors are started"
    assert pids.isdisjoint(speakers)
