"""A store that acknowledges when it is told to, or fails, or fails after it has done its work."""

from collections import deque
from collections.abc import Callable

from tests.fakes.wrapped_store import WrappedStore
from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.store.memory import MemoryStore
from vera_supervisor.store.protocol import Added, Done, StoreFault

FAULT = StoreFault("the disk is full")


class SlowStore(WrappedStore):
    """A memory store behind a queue of writes."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(result_ttl_s=3600.0, max_bytes=1 << 30))
        self._writes: deque[tuple[Callable[[], None], Callable[[StoreFault], None]]] = deque()

    @property
    def pending(self) -> int:
        return len(self._writes)

    def acknowledge(self) -> None:
        """Carry out all writes, and those that follow from them."""
        while self._writes:
            self._writes.popleft()[0]()

    def fail(self) -> None:
        """Do not carry out the oldest write, and say so."""
        self._writes.popleft()[1](FAULT)

    def add(self, effect: AddTask, done: Added) -> None:
        self._writes.append((lambda: self.inner.add(effect, done), done))

    def start(self, effect: StartAttempt, at: float, done: Done) -> None:
        self._writes.append((lambda: self.inner.start(effect, at, done), done))

    def requeue(self, effect: RequeueTask, at: float, done: Done) -> None:
        self._writes.append((lambda: self.inner.requeue(effect, at, done), done))

    def finish(self, effect: FinishTask, at: float, done: Done) -> None:
        self._writes.append((lambda: self.inner.finish(effect, at, done), done))

    async def close(self) -> None:
        self.acknowledge()
