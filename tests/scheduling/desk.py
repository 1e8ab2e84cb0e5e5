"""A scheduler with a clock in hand and a store that obeys: what examples are told with."""

from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Any, TypeVar

from tests.fakes.makers import make_policy, make_task
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.scheduler import Scheduler
from vera_supervisor.scheduling.slot import Slot
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure, Record, Used

E = TypeVar("E")

#: The writes that the store acknowledges.
Write = fx.AddTask | fx.StartAttempt | fx.RequeueTask | fx.FinishTask

#: What the wall clock says when tasks of an earlier run are taken up.
WALL = 1.0e9 + 500.0

#: More wake-ups at one moment than this, and the scheduler spins.
MOST_WAKEUPS_AT_ONCE = 8


def only(kind: type[E], effects: list[fx.Effect]) -> list[E]:
    """Return the effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def one(kind: type[E], effects: list[fx.Effect]) -> E:
    """Return the only effect of that kind."""
    (effect,) = only(kind, effects)
    return effect


class Desk:
    """Tells the scheduler what happens; the store acknowledges at once, unless it is held."""

    def __init__(self, **policy: Any) -> None:
        self.now = 1000.0
        self.scheduler = Scheduler(make_policy(**policy), Random(7))
        #: All effects so far.
        self.effects: list[fx.Effect] = []
        #: The tasks of all assignments so far.
        self.started: list[str] = []
        #: Kinds of writes that the store keeps waiting.
        self.held: set[type] = set()
        self.waiting: deque[Write] = deque()

    def tell(self, event: ev.Event) -> list[fx.Effect]:
        """Return the effects of an event and of the acknowledgements that follow from it."""
        effects: list[fx.Effect] = []
        events = deque([event])
        while events:
            new = self.scheduler.step(events.popleft(), self.now)
            effects += new
            for effect in new:
                if not isinstance(effect, Write):
                    continue
                if isinstance(effect, fx.StartAttempt) and not effect.acknowledge:
                    continue
                if type(effect) in self.held:
                    self.waiting.append(effect)
                else:
                    events.append(ev.Saved(effect))
        self.effects += effects
        self.started += [assign.task.task_id for assign in only(fx.Assign, effects)]
        return effects

    # The store.

    def hold(self, *kinds: type) -> None:
        self.held.update(kinds)

    def saved(self) -> list[fx.Effect]:
        """The store acknowledges the oldest write that it was kept from."""
        return self.tell(ev.Saved(self.waiting.popleft()))

    def save_failed(self) -> list[fx.Effect]:
        return self.tell(ev.SaveFailed(self.waiting.popleft(), "the disk is full"))

    # Clients.

    def submit(
        self,
        task_id: str,
        *,
        delay_s: float = 0.0,
        expires_in_s: float | None = None,
        ended: Mapping[str, Status] | None = None,
        **task: Any,
    ) -> list[fx.Effect]:
        new = make_task(task_id, **task)
        return self.tell(ev.Submitted(new, delay_s, expires_in_s, ended or {}))

    def recover(
        self, *records: Record, ended: Mapping[str, Status] | None = None
    ) -> list[fx.Effect]:
        """Take up records of an earlier run, one by one."""
        effects: list[fx.Effect] = []
        for record in records:
            effects += self.tell(ev.Recovered((record,), WALL, more=True, ended=ended or {}))
        return effects + self.tell(ev.Recovered((), WALL, more=False))

    def blocked_by(self, task_id: str) -> str | None:
        return self.scheduler.blocked_by(self.scheduler.live[task_id])

    def cancel(self, task_id: str) -> list[fx.Effect]:
        return self.tell(ev.CancelAsked(task_id))

    # Executors.

    def get_ready(self) -> list[fx.Effect]:
        """All executors that start are ready."""
        effects = self.tell(ev.TimePassed())
        for slot in list(self.scheduler.slots):
            effects += self.tell(ev.ExecutorReady(slot.slot_id))
        return effects

    def slot_of(self, task_id: str) -> Slot:
        (slot,) = [s for s in self.scheduler.slots if s.task_id == task_id]
        return slot

    def end(
        self,
        task_id: str,
        failure: Failure | None = None,
        *,
        unfit: str | None = None,
        output: bytes = b"",
        used: Used | None = None,
    ) -> list[fx.Effect]:
        slot = self.slot_of(task_id)
        result = b"42" if failure is None else None
        return self.tell(
            ev.AttemptEnded(
                slot.slot_id, task_id, slot.attempt, result, failure, output, unfit, used
            )
        )

    def throw(self, task_id: str) -> list[fx.Effect]:
        return self.end(task_id, Failure(cause=Cause.EXCEPTION, message="boom", type="ValueError"))

    def lose(self, task_id: str) -> list[fx.Effect]:
        return self.tell(
            ev.ExecutorLost(self.slot_of(task_id).slot_id, "it was killed", signal="SIGKILL")
        )

    def vanish(self, slot_id: int) -> list[fx.Effect]:
        """The executor of a slot, which has no task, is gone."""
        return self.tell(ev.ExecutorLost(slot_id, "it left", exit_code=0))

    # Time.

    def pass_time(self, seconds: float) -> list[tuple[float, fx.Effect]]:
        """Go on by `seconds`, waking the scheduler when it wishes; return what it did, and when."""
        start, end = self.now, self.now + seconds
        timed: list[tuple[float, fx.Effect]] = []
        wakeups = 0
        while (due := self.scheduler.alarm.at) <= end:
            wakeups = wakeups + 1 if due <= self.now else 0
            assert wakeups <= MOST_WAKEUPS_AT_ONCE, "it wants to be woken without end"
            self.now = max(self.now, due)
            effects = self.tell(ev.TimePassed())
            timed += [(self.now - start, effect) for effect in effects]
        self.now = end
        return timed

    def states(self) -> list[str]:
        return [slot.state.name for slot in self.scheduler.slots]


def desk_with(executors: int, **policy: Any) -> Desk:
    """Return a desk with that many idle executors, and no place for more."""
    desk = Desk(**{"min_workers": executors, "max_workers": executors} | policy)
    desk.get_ready()
    desk.effects.clear()
    return desk
