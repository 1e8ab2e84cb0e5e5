"""Looks at other processes through /proc, and waits for them without waiting too long."""

import os
import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Self

from tests.support.worker_process import WorkerProcess, marked
from vera_worker import process_tree

_PAUSE_S: Final = 0.01


def slack_s() -> float:
    """Return how much later than guaranteed something may be seen on this machine, now.

    Every guarantee in seconds holds on a machine that has time for the worker. A test run shares
    one, and its load says with how many others, if late, and of guests of the same host nothing.
    What is broken takes far longer; torture rounds look at percentiles.
    """
    return 4.0 + 2 * os.getloadavg()[0] / len(os.sched_getaffinity(0))


def eventually(condition: Callable[[], object], within_s: float, what: str) -> float:
    """Look until `condition` holds and return how long that took; fail after `within_s`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within_s, f"not within {within_s:g} s: {what}"
        time.sleep(_PAUSE_S)
    return time.monotonic() - started


def await_pool(worker: WorkerProcess, size: int, within_s: float = 2.0) -> None:
    """Wait until all executors of a worker are idle, as many as there shall be."""
    await_executors(worker, within_s, idle=size)


def await_executors(worker: WorkerProcess, within_s: float = 2.0, **shall: int) -> None:
    """Wait until there are so many executors of each of these states, and no others."""
    counts: dict[str, int] = {}

    def so() -> bool:
        counts.update(worker.client.get("/health").json()["executors"])
        return {state: count for state, count in counts.items() if count} == shall

    try:
        eventually(so, within_s + slack_s(), f"executors: {shall}")
    except AssertionError as error:
        log = worker.log.read_text()[-2000:]
        raise AssertionError(f"{error}; {counts}, {strays(worker)}\n{log}") from None


def state(pid: int) -> str:
    """Return the letter that /proc has for what a process does; "" when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return chr(file.read().rpartition(b")")[2].split()[0][0])
    except OSError:
        return ""


def alive(pids: Collection[int]) -> list[int]:
    """Return those of `pids` that are neither gone nor zombies."""
    return [pid for pid in pids if state(pid) not in ("", "Z", "X")]


def command_line(pid: int) -> bytes:
    """Return what a process was started with; nothing when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def fork_server(worker: WorkerProcess) -> int:
    """Return the pid of the worker's fork server."""
    for pid in fork_servers(worker):
        return pid
    raise AssertionError("the worker has no fork server")


def fork_servers(worker: WorkerProcess) -> list[int]:
    """Return the pids of the fork servers of all generations of code, oldest first."""
    return [
        pid
        for pid in process_tree.children(worker.process.pid)
        if b"multiprocessing.forkserver" in command_line(pid)
    ]


def executors(worker: WorkerProcess) -> list[int]:
    """Return the pids of the worker's live executors: each leads a session of its own."""
    return [pid for pid in alive(process_tree.children(fork_server(worker))) if _leads(pid)]


def strays(worker: WorkerProcess) -> list[int]:
    """Return the live processes of a worker that are no part of it: what tasks started."""
    own = {worker.process.pid, *process_tree.children(worker.process.pid)}
    present = alive(worker.survivors())
    return [pid for pid in present if pid not in own and not _is_executor(pid, own)]


def task_processes(task_id: str) -> list[int]:
    """Return the programs that a task started and that still run."""
    return alive(list(marked("VERA_TASK_ID", task_id)))


def _is_executor(pid: int, own: Collection[int]) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return True  # it is gone
    return parent in own and (_leads(pid) or _begins(pid))


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _begins(pid: int) -> bool:
    """Return whether this is an executor that was forked just now: no task has that session."""
    try:
        return os.getsid(pid) == os.getsid(0)
    except ProcessLookupError:
        return True


class Vitals(NamedTuple):
    """What a process that runs for months must not have ever more of."""

    descriptors: int
    threads: int
    zombies: int
    rss_bytes: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Measure a process and the state of its children."""
        with open(f"/proc/{pid}/statm", "rb") as file:
            rss = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return cls(
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            threads=len(os.listdir(f"/proc/{pid}/task")),
            zombies=sum(state(child) == "Z" for child in process_tree.descendants(pid)),
            rss_bytes=rss,
        )
