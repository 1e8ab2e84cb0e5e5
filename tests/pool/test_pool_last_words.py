"""Of an executor that is killed and does not vanish in time, what is known is told."""

import asyncio
from typing import Any, cast

from tests.fakes.on_loop import on_loop
from vera_supervisor.pool.executor import Executor
from vera_supervisor.pool.pool import Pool
from vera_supervisor.scheduling.effects import Kill
from vera_supervisor.scheduling.events import Event, ExecutorLost
from vera_worker.tasks import Used

USED = Used(1.5, 2**20)


class Undying:
    """An executor that has been busy for a while, and stays."""

    running = True
    pid = 0
    used: Used | None = None

    def __init__(self) -> None:
        self.launcher = self.output = self

    def look(self) -> None:
        self.used = USED

    def kill(self, _pid: int) -> None:
        """Do nothing."""

    def peek(self) -> bytes:
        return b"here"

    def stack(self) -> str:
        return "in hang"


@on_loop
async def test_the_certificate_of_one_that_does_not_vanish_is_whole() -> None:
    told: asyncio.Queue[Event] = asyncio.Queue()
    pool = Pool(told.put_nowait, max_result_bytes=1, max_output_bytes=1)
    executors: dict[int, Any] = {1: Undying()}
    pool._executors = cast("dict[int, Executor]", executors)
    pool.kill(Kill(1))
    lost = await told.get()
    assert isinstance(lost, ExecutorLost)
    assert (lost.signal, lost.output, lost.stack, lost.used) == (
        "SIGKILL",
        b"here",
        "in hang",
        USED,
    )
