"""Runs a worker again and again on one store, kills it each time, and gathers the history."""

import random
import signal
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.history.clients import Clients
from tests.history.history import History, Kept, Ran
from tests.history.noted_tasks import NOTES_VARIABLE
from tests.support.worker_process import WorkerFailedError, WorkerProcess
from vera_worker.fault_points import OF_EXECUTORS, VARIABLE, FaultPoint
from vera_worker.tasks import RANK, Priority

CLIENTS: Final = 8
EXECUTORS: Final = 2
AGING_STEP_S: Final = 5.0
_ROOT: Final = Path(__file__).parents[2]
#: A worker that has nothing to do or is gone is noticed after this.
_SILENCE_S: Final = 5.0
#: Reached once the worker is told to stop.
_POINTS_OF_THE_END: Final = frozenset(
    {FaultPoint.DRAIN_BEGUN, FaultPoint.INTERRUPTED, FaultPoint.CHECKPOINT_BEGUN}
)
#: With this many tasks done, an executor that a fault point kills has been of some use.
_MOST_PASSES: Final = 25


class KillLoop:
    """One store, one set of clients, many lives of the worker."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory = directory
        self._notes = directory / "notes.txt"
        self._random = random.Random(seed)
        self.clients = Clients(CLIENTS, seed)
        self.kills = 0

    def round(self, point: FaultPoint | None) -> None:
        """Start the worker, let clients talk to it, and have it killed: at `point`, or anywhere."""
        settings: dict[str, str] = {}
        if point is not None:
            passes = 1 if point in _POINTS_OF_THE_END else self._random.randint(1, _MOST_PASSES)
            settings[VARIABLE] = f"{point}:{passes}"
        stop = threading.Event()
        try:
            running = self._worker(**settings)
        except WorkerFailedError as error:
            if error.status != -signal.SIGKILL:
                raise
            self.kills += 1  # at the point, on the tasks of its former life
            return
        with running as worker:
            threads = self.clients.talk(worker.url, stop)
            if point is None or point in OF_EXECUTORS:
                self.clients.wait_for_answers(self._random.randint(1, 60), _SILENCE_S)
                worker.process.kill()
            else:
                if point in _POINTS_OF_THE_END:
                    self.clients.wait_for_answers(self._random.randint(1, 60), _SILENCE_S)
                    worker.process.terminate()
                worker.process.wait(timeout=120)
            worker.process.wait()
            self.kills += 1
            stop.set()
            for thread in threads:
                thread.join()

    def history(self) -> History:
        """Run the worker once more, until all tasks have ended, and return what happened."""
        with self._worker() as worker:
            for record in _records(worker):
                if record["completed_at"] is None:
                    worker.record(record["task_id"], wait=60)
            newest_first = list(_records(worker))
            kept = [_kept(order, record) for order, record in enumerate(reversed(newest_first))]
            assert worker.terminate() == 0, worker.log.read_text()
        return History(self.clients.said, self.clients.seen, list(self._ran()), kept)

    def _worker(self, **settings: str) -> WorkerProcess:
        return WorkerProcess(
            self._directory,
            modules="tests.history.noted_tasks",
            STORE_URL="sqlite:///tasks.db",
            MAX_WORKERS=str(EXECUTORS),
            MIN_WORKERS=str(EXECUTORS),
            QUEUE_SIZE="500",
            VERA_SERVER__DRAIN_TIMEOUT="5",
            VERA_QUEUE__AGING_STEP=str(AGING_STEP_S),
            PYTHONPATH=str(_ROOT),
            **{NOTES_VARIABLE: str(self._notes)},
            **settings,
        )

    def _ran(self) -> Iterator[Ran]:
        for line in self._notes.read_text().splitlines():
            task_id, attempt, token, what, at = line.split()
            yield Ran(task_id, int(attempt), token, what == "end", float(at))


def _records(worker: WorkerProcess) -> Iterator[Any]:
    cursor: dict[str, str] = {}
    while True:
        page = (
            worker.client.get("/tasks", params={"limit": 1000} | cursor).raise_for_status().json()
        )
        yield from page["tasks"]
        if page["cursor"] is None:
            return
        cursor = {"cursor": page["cursor"]}


def _kept(order: int, record: Any) -> Kept:
    failure = record.get("failure")
    return Kept(
        task_id=record["task_id"],
        status=record["status"],
        attempt=record["attempt"],
        result=record["result"],
        cause=None if failure is None else failure["cause"],
        order=order,
        rank=RANK[Priority(record["priority"])],
        queued_at=_seconds(record["queued_at"]),
        started_at=record["started_at"] and _seconds(record["started_at"]),
    )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
