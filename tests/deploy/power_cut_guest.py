"""Runs inside a machine whose power is cut: a worker, clients, and what they were told.

`live STORE ACKNOWLEDGED SYNCHRONOUS` starts a worker and submits tasks without end. Each id that is
answered with 2xx is appended to the file ACKNOWLEDGED, which lies outside of the machine, and is on
the disk there before the next submission. `look STORE ACKNOWLEDGED` starts the worker again and
prints, as JSON, what it knows of those ids.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

CLIENTS: Final = 4
_READY_S: Final = 300
#: Long enough for the slowest machine; a task that ends sooner is told of sooner.
_END_S: Final = 60
#: What a worker runs that takes another SQLite setting for durable.
OTHERWISE: Final = """
from vera_supervisor.store.sqlite import database
connect = database.connect
def otherwise(path):
    connection = connect(path)
    connection.execute("pragma synchronous = {synchronous}")
    return connection
database.connect = otherwise
from vera_supervisor.cli import main
main()
"""


class Worker:
    """A worker on a store of its own, on a free port."""

    def __init__(self, store: Path, synchronous: str = "full") -> None:
        reader, writer = os.pipe()
        program = ["-m", "vera_supervisor"]
        if synchronous != "full":
            program = ["-c", OTHERWISE.format(synchronous=synchronous)]
        settings = {"STORE_URL": f"sqlite:///{store}", "WORKER_PORT": "0", "MAX_WORKERS": "1"}
        settings |= {"MAX_CPU_PERCENT": "100", "MAX_MEMORY_PERCENT": "100", "QUEUE_SIZE": "10000"}
        self._process = subprocess.Popen(
            [sys.executable, *program, "serve", "--ready-fd", str(writer)],
            env=os.environ | settings,
            pass_fds=[writer],
        )
        os.close(writer)
        with os.fdopen(reader) as ready:
            self.url = json.loads(ready.readline())["url"]

    def ask(self, path: str, body: Any = None) -> Any:
        """Return the answer to a request, decoded; None where there is no such thing."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=_READY_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def stop(self) -> None:
        """Let it end in order."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_READY_S)


def live(store: Path, acknowledged: Path, synchronous: str) -> None:
    """Submit tasks until the power is cut."""
    worker = Worker(store, synchronous)
    life = time.time_ns()
    file = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def submit(client: int) -> None:
        number = 0
        while True:
            number += 1
            task_id = f"{life}-{client}-{number}"
            payload = {"function": "echo", "args": [task_id]}
            if worker.ask("/task/submit", {"task_id": task_id, "payload": payload}):
                os.write(file, f"{task_id}\n".encode())
                os.fsync(file)

    for client in range(CLIENTS):
        threading.Thread(target=submit, args=(client,)).start()


def look(store: Path, acknowledged: Path) -> None:
    """Say what became of all that was acknowledged."""
    *whole, _ = acknowledged.read_text().split("\n")  # the last line may have been cut off
    ids = [task_id for task_id in whole if task_id]
    worker = Worker(store)
    records = {task_id: worker.ask(f"/task/{task_id}?wait={_END_S}") for task_id in ids}
    worker.stop()
    lost = [task_id for task_id, record in records.items() if record is None]
    wrong = [
        task_id
        for task_id, record in records.items()
        if record is not None
        and (record["status"], record["result"]) != ("completed", {"args": [task_id], "kwargs": {}})
    ]
    told = {"acknowledged": len(ids), "lost": lost, "wrong": wrong}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    what, *args = sys.argv[1:]
    if what == "live":
        live(Path(args[0]), Path(args[1]), args[2])
    else:
        look(Path(args[0]), Path(args[1]))
