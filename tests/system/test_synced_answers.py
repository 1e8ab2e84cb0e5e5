"""A 2xx answer to a submission leaves the worker after the sync that covers it (D2).

strace shows every write of the worker: what it puts into the log of its store, what it syncs, and
what it sends to clients.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.traced_worker import needs_strace, traced_python
from tests.support.worker_process import WorkerProcess, worker

pytestmark = [pytest.mark.system, needs_strace, pytest.mark.timeout(180)]

CLIENTS: Final = 4
TASKS: Final = 8
#: A page of the log, with each byte that is no letter written as up to four.
_LONGEST: Final = 4096 * 4 + 64
_SENDING: Final = ("write(", "writev(", "sendto(", "sendmsg(")


def unsynced_answers(trace: Iterator[str], ids: set[str]) -> set[str]:
    """Return those ids that were sent to a client before what was written of them was synced.

    An id that is in no answer, or was never written, is returned as well.
    """
    covered, written, early = set[str](), set[str](), set[str]()
    syncing: dict[str, set[str]] = {}
    left = set(ids)
    for line in trace:
        thread, _, call = line.partition(" ")
        call = call.lstrip()
        if call.startswith("pwrite64(") and "-wal>" in call:
            written |= {task_id for task_id in ids if task_id in call}
        elif call.startswith("fdatasync(") and "-wal>" in call:
            syncing[thread] = set(written)  # what is written while it runs, it need not cover
        elif call.startswith(_SENDING) and "<TCP:" in call:
            for task_id in {task_id for task_id in left if task_id in call}:
                left.discard(task_id)
                if task_id not in covered:
                    early.add(task_id)
        if "fdatasync" in call and call.endswith("= 0\n") and thread in syncing:
            covered |= syncing.pop(thread)
    return early | left


def submit_all(node: WorkerProcess) -> set[str]:
    """Submit tasks one by one and many at once, all at the same time; return their ids."""
    ids = {
        f"task-{client}-{number}-of-many" for client in range(CLIENTS) for number in range(TASKS)
    }

    def submit(client: int) -> None:
        for number in range(TASKS):
            node.submit("noop", task_id=f"task-{client}-{number}-of-many")

    clients = [threading.Thread(target=submit, args=(client,)) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    batch = [f"line-{number}-of-a-batch" for number in range(50)]
    lines = [json.dumps({"task_id": name, "payload": {"function": "noop"}}) for name in batch]
    ndjson = {"Content-Type": "application/x-ndjson"}
    node.client.post("/tasks", content="\n".join(lines), headers=ndjson).raise_for_status()
    for client in clients:
        client.join()
    return ids | set(batch)


def test_every_2xx_comes_after_a_sync_that_covers_it(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,fdatasync,write,writev,sendto,sendmsg"
    options = ("--seccomp-bpf", "-yy", "-s", str(_LONGEST), "-o", str(trace), "-e", calls)
    with worker(
        tmp_path,
        python=traced_python(tmp_path, *options),
        STORE_URL="sqlite:///tasks.db",
        MAX_WORKERS="1",
    ) as node:
        ids = submit_all(node)
        assert node.terminate() == 0
    with trace.open() as lines:
        assert unsynced_answers(lines, ids) == set()


SYNC = ['9 pwrite64(5<tasks.db-wal>, "..me..") = 4096', "9 fdatasync(5<tasks.db-wal>) = 0"]
ANSWER = '8 write(7<TCP:[1->2]>, "202 me") = 5'


@pytest.mark.parametrize(
    ("calls", "fine"),
    [
        ([*SYNC, ANSWER], True),
        ([SYNC[0], ANSWER, SYNC[1]], False),
        ([SYNC[1], SYNC[0], ANSWER], False),
        ([SYNC[0], SYNC[1].replace("= 0", "= -1 EIO"), ANSWER], False),
        ([SYNC[0], "9 fdatasync(5<tasks.db-wal> <unfinished ...>", ANSWER], False),
        (
            [
                SYNC[0],
                "9 fdatasync(5<tasks.db-wal> <unfinished ...>",
                '8 write(7<TCP:[1->2]>, "202 you") = 5',
                "9 <... fdatasync resumed>) = 0",
                ANSWER,
            ],
            True,
        ),
        (SYNC, False),
    ],
)
def test_traces_are_read_rightly(calls: list[str], fine: bool) -> None:
    assert (unsynced_answers((f"{call}\n" for call in calls), {"me"}) == set()) is fine
