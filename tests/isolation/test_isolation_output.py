"""What a task printed is kept even if it was killed, and a flood of it hurts nobody (L7)."""

import pytest

from tests.isolation.conftest import StartWorker
from tests.support.patience import until
from tests.support.processes import Vitals
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

_MIB = 1024 * 1024
#: 64 KiB and the line that says what is missing.
KEPT_BYTES = 64 * 1024
SOURCES = ("python", "python's stderr", "C", "a subprocess")


@pytest.mark.parametrize(
    ("function", "cause"),
    [("print_everywhere_then_die", "crashed"), ("print_everywhere_then_hang", "cancelled")],
)
def test_what_was_printed_before_a_kill_is_kept(
    shared: WorkerProcess, function: str, cause: str
) -> None:
    task_id = shared.submit(function, "hello")["task_id"]
    output = f"/task/{task_id}/output"
    until(lambda: shared.client.get(output).text.count("\n") == len(SOURCES))
    if cause == "cancelled":
        shared.client.delete(f"/task/{task_id}").raise_for_status()
    record = shared.record(task_id, wait=60)
    assert record["failure"]["cause"] == cause
    printed = shared.client.get(output).text
    for source in SOURCES:
        assert f"hello from {source}\n" in printed
        assert f"hello from {source}\n" in record["failure"]["output_tail"]


def test_output_can_be_read_while_the_task_runs_and_is_its_own(shared: WorkerProcess) -> None:
    ids = [shared.submit("print_everywhere", f"task-{n}", wait=60)["task_id"] for n in range(6)]
    for n, task_id in enumerate(ids):
        printed = shared.client.get(f"/task/{task_id}/output").text
        assert printed.count(f"task-{n} from") == printed.count(" from ") == len(SOURCES)


def test_a_flood_is_cut_and_says_so(start_worker: StartWorker) -> None:
    worker = start_worker()
    for _ in range(3):  # warm-up
        worker.submit("flood_stdout", 4, wait=60)
    before = Vitals.of(worker.process.pid).rss_bytes
    record = worker.submit("flood_stdout", 200, timeout=120, wait=150)
    assert record["status"] == "completed"
    assert Vitals.of(worker.process.pid).rss_bytes - before < 16 * _MIB
    printed = worker.client.get(f"/task/{record['task_id']}/output").content
    first, rest = printed.split(b"\n", 1)
    assert first == b"[... %d bytes left out ...]" % (200 * _MIB - KEPT_BYTES)
    assert len(rest) == KEPT_BYTES
