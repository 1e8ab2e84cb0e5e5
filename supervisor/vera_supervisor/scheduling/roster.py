"""The executors of one pool: which is free, when to start one more, when to let one go."""

import itertools
import math
from bisect import insort
from collections.abc import Iterator
from typing import Final

import msgspec

from vera_supervisor.scheduling.effects import Effect, Launch, Retire
from vera_supervisor.scheduling.slot import Limits, Slot, SlotState
from vera_supervisor.scheduling.slots import Slots, count
from vera_worker.tasks import DEFAULT_POOL

#: Executors that die before they are ready are replaced ever more slowly, up to this.
MAX_START_DELAY_S: Final = 30.0
FIRST_START_DELAY_S: Final = 0.1


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How many executors a pool is to have."""

    min_workers: int
    max_workers: int
    #: Seconds after which an idle executor above the minimum is let go.
    idle_timeout_s: float
    #: Attempts after which an executor is let go; 0: never.
    max_tasks: int = 0
    #: Seconds that a task waits for an executor before one more is started.
    growth_delay_s: float = 0.0


class Roster:
    """The slots of one pool, and the idle ones at hand."""

    def __init__(
        self, size: Size, limits: Limits, slots: Slots | None = None, pool: str = DEFAULT_POOL
    ) -> None:
        self.size = size
        self.limits = limits
        self.pool = pool
        #: Those of all pools.
        self.slots = Slots() if slots is None else slots
        self.alarm = self.slots.alarm
        self._slots: dict[int, Slot] = {}
        #: How many there are; read after every event.
        self.count = 0
        #: Free for a task, longest idle first; the last is the warmest, and takes the next task.
        self.idle: list[Slot] = []
        self._failed_starts = 0
        #: How often in a row a start was put off because of them.
        self._delays = 0
        self._no_start_before = -math.inf
        #: Until then no executor is started for tasks that wait.
        self.patient_until = -math.inf

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.counts().items() if n)
        return f"<Roster {counts or 'empty'}>"

    def counts(self) -> dict[str, int]:
        """Return how many executors are in each state."""
        return count(self)

    @property
    def failed_starts(self) -> int:
        """How many executors in a row died before they were ready."""
        return self._failed_starts

    def take_idle(self) -> Slot:
        """Return an idle slot, which the caller assigns."""
        return self.idle.pop()

    def take_unused(self) -> Slot | None:
        """Return an idle slot that has never had a task, which the caller assigns; else None."""
        for index, slot in enumerate(self.idle):
            if not slot.tasks:
                return self.idle.pop(index)
        return None

    @property
    def overfull(self) -> bool:
        """Whether there are more executors than there may be, as after a change of the maximum."""
        most = self.size.max_workers
        return self.count > most and self._staying() > most

    def keeps(self, slot: Slot) -> bool:
        """Return whether an executor may have another task: not if worn, outdated or too many."""
        size = self.size
        if 0 < size.max_tasks <= slot.tasks or slot.generation != self.slots.generation:
            return False
        return self.count <= size.max_workers or not self.overfull

    def release(self, slot: Slot, now: float) -> list[Effect]:
        """`slot` has no task any more: it takes the next one, or goes."""
        if not self.keeps(slot):
            return [self.retire(slot, now)]
        self.rest(slot, now)
        return []

    def rest(self, slot: Slot, now: float) -> None:
        """`slot` is ready for a task."""
        self._failed_starts = self._delays = 0
        self.slots.last_sign_of_life = now
        slot.rest(now, self.limits)
        self.idle.append(slot)
        if self.count > self.size.min_workers:
            self._expect_farewell(slot)

    def answered(self, slot: Slot, now: float) -> None:
        """`slot` passed its self-check."""
        if slot.state is SlotState.CHECKING:
            self.slots.last_sign_of_life = now
            slot.answered(now, self.limits)
            insort(self.idle, slot, key=lambda slot: slot.idle_since)
            self._expect_farewell(slot)

    def lost(self, slot: Slot, now: float) -> None:
        """The executor of `slot` is gone."""
        del self._slots[slot.slot_id]
        self.slots.remove(slot)
        self.count -= 1
        if slot.state is SlotState.IDLE:
            self.idle.remove(slot)
        # Of an earlier generation: it was killed because it came too late.
        if not slot.was_ready and slot.generation == self.slots.generation:
            self._failed_starts += 1
            if now >= self._no_start_before:  # those that fail together have one reason
                delay = FIRST_START_DELAY_S * 2.0 ** min(self._delays, 10)
                self._no_start_before = now + min(delay, MAX_START_DELAY_S)
                self.alarm.set(self._no_start_before)
                self._delays += 1

    def grow(self, waiting: int, now: float, choosy: int = 0) -> list[Effect]:
        """Return the launches that the minimum and the tasks that wait call for.

        `choosy` are those among them that no used executor will do for.
        """
        if now < self._no_start_before:
            return []
        alive = starting = 0
        for slot in self:
            alive += slot.state not in (SlotState.RETIRING, SlotState.KILLING)
            starting += slot.state is SlotState.STARTING
        called_for = max(0, waiting - len(self.idle)) + choosy - starting
        wanted = max(self.size.min_workers - alive, called_for)
        wanted = min(wanted, self.size.max_workers - self.count)
        if self._failed_starts:  # one is enough to find out whether that is over
            wanted = min(wanted, 1 - starting)
        return [self._launch(now) for _ in range(wanted)]

    def be_patient(self, until: float) -> None:
        """Those who wait have not waited long: look at them again then."""
        self.patient_until = until
        self.alarm.set(until)

    @property
    def deserted(self) -> bool:
        """Whether no executor is there or on its way that will take tasks."""
        return not self._staying()

    def make_way(self, choosy: int, now: float) -> list[Effect]:
        """Retire the idle executors without which no unused ones could be started."""
        coming = 0
        for slot in self:
            coming += slot.state in (SlotState.STARTING, SlotState.RETIRING, SlotState.KILLING)
        missing = choosy - coming - max(0, self.size.max_workers - self.count)
        return [self.retire(slot, now) for slot in self.idle[: max(0, missing)]]

    def shrink(self, now: float) -> list[Effect]:
        """Retire the idle executors that are no longer called for."""
        effects: list[Effect] = []
        alive = self._staying()
        for slot in list(self.idle):
            stale = slot.idle_since + self.size.idle_timeout_s <= now
            if alive > self.size.max_workers or (alive > self.size.min_workers and stale):
                effects.append(self.retire(slot, now))
                alive -= 1
        return effects

    def _expect_farewell(self, slot: Slot) -> None:
        """Have `shrink` called when an idle slot has been idle for too long."""
        self.alarm.set(slot.idle_since + self.size.idle_timeout_s)

    def _staying(self) -> int:
        return sum(s.state not in (SlotState.RETIRING, SlotState.KILLING) for s in self)

    def _launch(self, now: float) -> Effect:
        seat = self._free_seat()
        slot = Slot(self.slots.next_id(), now, self.limits, self.alarm, self.pool, seat)
        slot.generation = self.slots.generation
        self._slots[slot.slot_id] = slot
        self.slots.add(slot)
        self.count += 1
        if self.idle and self.count > self.size.min_workers:
            self._expect_farewell(self.idle[0])
        return Launch(slot.slot_id, self.pool, seat)

    def _free_seat(self) -> int:
        taken = {slot.seat for slot in self}
        return next(seat for seat in itertools.count() if seat not in taken)

    def retire(self, slot: Slot, now: float) -> Effect:
        """Let the executor of `slot`, which has no task, go."""
        if slot.state is SlotState.IDLE:
            self.idle.remove(slot)
        slot.retire(now)
        return Retire(slot.slot_id)

    def renew(self, now: float) -> list[Effect]:
        """Let all executors go that have no task; their code is of an earlier generation.

        Those that have one go when it has ended. Earlier failed starts no longer count.
        """
        self._failed_starts = self._delays = 0
        self._no_start_before = -math.inf
        effects: list[Effect] = []
        for slot in self:
            if slot.state in (SlotState.IDLE, SlotState.CHECKING):
                effects.append(self.retire(slot, now))
            elif slot.state is SlotState.STARTING:
                effects += self.kill(slot, now)
        return effects

    def kill(self, slot: Slot, now: float) -> list[Effect]:
        """Have the executor of `slot` killed, whatever it is doing."""
        if slot.state is SlotState.IDLE:
            self.idle.remove(slot)
        return slot.kill(now)

    def due(self, now: float) -> list[Effect]:
        """Return what the deadlines that have passed call for."""
        effects: list[Effect] = []
        if self._no_start_before <= now:
            self._no_start_before = -math.inf
        if self.patient_until <= now:
            self.patient_until = -math.inf
        for slot in list(self):
            if slot.deadline <= now and slot.state is not SlotState.KILLING:
                if slot.state is SlotState.IDLE:
                    self.idle.remove(slot)
                effects += slot.time_up(now, self.limits)
        return effects

    def given_up(self, now: float) -> list[Slot]:
        """Return the slots whose killed process does not vanish."""
        return [s for s in self if s.state is SlotState.KILLING and s.deadline <= now]

    def next_deadline(self) -> float:
        """Return when `due` or `shrink` will next have something to say; infinity for never.

        It looks at all slots: see `alarm`.
        """
        nearest = math.inf
        for slot in self:
            nearest = min(nearest, slot.deadline)
        for moment in (self._no_start_before, self.patient_until):
            if moment > -math.inf:
                nearest = min(nearest, moment)
        if self.idle and self.count > self.size.min_workers:
            farewell = self.idle[0].idle_since + self.size.idle_timeout_s
            if farewell < nearest and self._staying() > self.size.min_workers:
                nearest = farewell
        return nearest
