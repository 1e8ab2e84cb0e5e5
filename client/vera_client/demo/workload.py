"""The demo's work: every file of the running Python's own library, through a worker and without."""

import gc
import multiprocessing
import os
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

import aiometer
import anyio

from vera_client import transport
from vera_client.async_client import AsyncClient
from vera_client.groups import first_error
from vera_client.records import TaskRecord

FUNCTION: Final = "count_ast_nodes"
#: Seconds for all of it; what is not done by then never will be.
LIMIT_S: Final = 300.0
_NOT_OURS: Final = frozenset({"site-packages", "dist-packages", "__pycache__"})
#: Files that a checking process takes at a time.
_CHUNK: Final = 16

#: What became of a file: its number of nodes, or the name of the exception.
Outcome = int | str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw of one task."""

    outcome: Outcome
    #: From just before the submission to the answer with the result.
    latency_s: float


def library_files(root: str | None = None) -> list[str]:
    """Return every Python file of the standard library, its tests included."""
    files: list[str] = []
    for directory, below, names in os.walk(root or sysconfig.get_path("stdlib")):
        below[:] = sorted(set(below) - _NOT_OURS)
        files += [os.path.join(directory, name) for name in sorted(names) if name.endswith(".py")]
    return files


async def through_worker(
    worker: AsyncClient, files: Sequence[str], at_once: int, on_done: Callable[[], None]
) -> dict[str, Seen]:
    """Return what the worker makes of each file, `at_once` of them in flight."""

    async def one(path: str) -> tuple[str, Seen]:
        started = time.perf_counter()
        record = await worker.submit(FUNCTION, path, priority="normal", wait=transport.HOLD_S)
        if not record.ended:
            record = await worker.wait(record.task_id)
        return path, Seen(outcome_of(record), time.perf_counter() - started)

    seen: dict[str, Seen] = {}
    with first_error(), anyio.fail_after(LIMIT_S):
        async with aiometer.amap(one, files, max_at_once=at_once) as results:
            async for path, what in results:
                seen[path] = what
                on_done()
    return seen


def outcome_of(record: TaskRecord) -> Outcome:
    """Return what became of a task."""
    if record.completed:
        return int(record.result)
    return (record.failure and record.failure.type) or str(record.error)


def directly(files: Sequence[str], processes: int) -> Iterator[tuple[str, Outcome]]:
    """Yield what the same function makes of each file when it is simply called."""
    # Spawned: a fork would take the client's connections and threads along.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_prepare) as pool:
        yield from zip(files, pool.map(_called, files, chunksize=_CHUNK), strict=True)


def _prepare() -> None:
    # An interrupt is for the demo itself, which then ends these processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A syntax tree has no cycles; looking for them takes a quarter of the time.
    gc.disable()


def _called(path: str) -> Outcome:
    from vera_executor.demo import count_ast_nodes  # noqa: PLC0415 - only the demo needs it

    try:
        return count_ast_nodes(path)
    except Exception as error:  # noqa: BLE001 - which one it is is the outcome
        return type(error).__name__
