"""Executors that cannot be started keep no thread from those that have to be killed."""

import asyncio
import threading
from typing import cast

from tests.fakes.on_loop import on_loop
from vera_supervisor.pool.launch import Launcher
from vera_supervisor.pool.outfits import Outfit
from vera_supervisor.pool.pool import Pool
from vera_supervisor.pool.trial import Candidate
from vera_supervisor.scheduling.effects import Kill, Launch
from vera_supervisor.scheduling.events import Event

#: More than there are threads for all that blocks.
STARTS = 60


class Stuck:
    """A launcher whose fork server imports a module that hangs, until that is broken off."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def start(self, _outfit: Outfit, _seat: int) -> None:
        self.gate.wait()
        raise OSError("broken off")

    def break_off(self) -> None:
        self.gate.set()


@on_loop
async def test_a_crowd_of_hanging_starts_can_be_broken_off() -> None:
    lost: list[Event] = []
    all_lost = asyncio.Event()

    def post(event: Event) -> None:
        lost.append(event)
        if len(lost) == STARTS:
            all_lost.set()

    launcher = Stuck()
    pool = Pool(post, max_result_bytes=1, max_output_bytes=1)
    pool.adopt(Candidate(cast("Launcher", launcher), {"default": Outfit()}, ()))
    try:
        for slot_id in range(STARTS):
            pool.launch(Launch(slot_id))
        await asyncio.sleep(0)  # all have begun
        pool.kill(Kill(0))
        await all_lost.wait()
    finally:
        launcher.gate.set()
