"""Executors that exist on paper: what they are told is noted, what they say the test says."""

from collections.abc import Callable
from typing import cast

from vera_supervisor.pool.pool import Pool
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_worker.tasks import Failure


class FakePool:
    def __init__(self, post: Callable[[ev.Event], None]) -> None:
        self.post = post
        self.told: list[fx.Effect] = []
        self.launched: list[int] = []
        self.assigned: dict[str, fx.Assign] = {}

    def as_pool(self) -> Pool:
        return cast("Pool", self)

    def launch(self, effect: fx.Launch) -> None:
        self.launched.append(effect.slot_id)

    def assign(self, effect: fx.Assign) -> None:
        self.assigned[effect.task.task_id] = effect

    def _note(self, effect: fx.Effect) -> None:
        self.told.append(effect)

    stop = dump_stack = kill = check = retire = _note

    def output(self, slot_id: int) -> bytes:
        return f"printed in slot {slot_id}".encode()

    def get_ready(self) -> None:
        """All executors that were launched have loaded their functions."""
        for slot_id in self.launched:
            self.post(ev.ExecutorReady(slot_id))
        self.launched.clear()

    def end(
        self, task_id: str, result: bytes | None = b"1", failure: Failure | None = None
    ) -> None:
        """The executor of a task says how its attempt ended."""
        assign = self.assigned.pop(task_id)
        self.post(ev.AttemptEnded(assign.slot_id, task_id, assign.attempt, result, failure))

    def lose(self, task_id: str) -> None:
        """The executor of a task is gone."""
        assign = self.assigned.pop(task_id)
        self.post(ev.ExecutorLost(assign.slot_id, "killed by SIGKILL", signal="SIGKILL"))
