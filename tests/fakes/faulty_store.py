"""A store that lies at random: it carries a write out and says that it failed, or does not."""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from tests.fakes.wrapped_store import WrappedStore
from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.store.protocol import Added, Done, Store, StoreFault

E = TypeVar("E")

TIMED_OUT = StoreFault("timed out")


class FaultyStore(WrappedStore):
    """Another store: of all writes one part is done and reported failed, another is not done."""

    def __init__(self, inner: Store, seed: int, *, done: float, not_done: float) -> None:
        super().__init__(inner)
        self._random = Random(seed)
        self._done, self._not_done = done, not_done
        self.lies = 0

    def add(self, effect: AddTask, done: Added) -> None:
        if self._begins():
            self.inner.add(effect, lambda answer: done(TIMED_OUT if self._lies() else answer))
        else:
            done(TIMED_OUT)

    def start(self, effect: StartAttempt, at: float, done: Done) -> None:
        self._perhaps(self.inner.start, effect, at, done)

    def requeue(self, effect: RequeueTask, at: float, done: Done) -> None:
        self._perhaps(self.inner.requeue, effect, at, done)

    def finish(self, effect: FinishTask, at: float, done: Done) -> None:
        self._perhaps(self.inner.finish, effect, at, done)

    def _perhaps(
        self, write: Callable[[E, float, Done], None], effect: E, at: float, done: Done
    ) -> None:
        if self._begins():
            write(effect, at, lambda fault: done(TIMED_OUT if self._lies() else fault))
        else:
            done(TIMED_OUT)

    def _begins(self) -> bool:
        return self._random.random() >= self._not_done

    def _lies(self) -> bool:
        lies = self._random.random() < self._done
        self.lies += lies
        return lies
