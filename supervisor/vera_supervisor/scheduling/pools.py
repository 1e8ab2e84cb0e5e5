"""The pools: executors of one kind each, and the line of those tasks that wait for one of them.

A full pool holds back its own tasks and no others. The next task is chosen over all pools: if only
few may start, as on a full machine, the first of all those that could goes first. Pure.
"""

import math
from collections.abc import Iterator, Mapping

import msgspec

from vera_supervisor.scheduling.effects import Effect
from vera_supervisor.scheduling.line import Line
from vera_supervisor.scheduling.roster import Roster, Size
from vera_supervisor.scheduling.slot import Limits, Slot
from vera_supervisor.scheduling.slots import Slots
from vera_worker.tasks import DEFAULT_POOL


class PoolPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about the executors of a pool."""

    size: Size
    limits: Limits
    #: Tasks of the pool that may wait, wherever that is; None: as many as in all pools.
    queue_size: int | None = None


class Pool:
    """One pool: who waits, and for which executors."""

    __slots__ = ("line", "name", "queue", "queue_size", "queued", "roster")

    def __init__(self, name: str, line: Line, roster: Roster) -> None:
        self.name = name
        self.line = line
        self.queue = line.queue
        self.roster = roster
        #: How many tasks wait, wherever that is, or are being stored; not counted in an only pool.
        self.queued = 0
        #: How many may at most; None: only the sum over all pools is limited.
        self.queue_size: int | None = None

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {self.queue.length} wait, {self.roster}>"

    def has_room(self, part: float = 0.0) -> bool:
        """Return whether one more task may wait, and `part` of all that may."""
        if self.queue_size is None:
            return True
        return self.queue_size - self.queued >= max(1, int(self.queue_size * part))

    def make_way(self, now: float) -> list[Effect]:
        """Retire the idle executors without which choosy tasks would get no unused one."""
        if self.line.unused_awaited and self.roster.idle:
            return self.roster.make_way(self.line.choosy, now)
        return []

    def grow(self, now: float, *, hold: bool) -> list[Effect]:
        """Return the launches that the minimum calls for, and unless on `hold` those who wait."""
        if hold:
            return self.roster.grow(0, now)
        return self.roster.grow(self._impatient(now), now, self.line.choosy)

    def _impatient(self, now: float) -> int:
        """Return how many tasks call for an executor: all, once one of them has waited too long."""
        queue, roster = self.queue, self.roster
        if queue.ready <= len(roster.idle):
            return 0
        if now >= roster.patient_until:
            impatient_at = queue.oldest() + roster.size.growth_delay_s
            if impatient_at <= now:
                return queue.ready
            roster.be_patient(impatient_at)
        return 1 if roster.deserted else 0


class Pools:
    """All pools by name; their slots have ids of their own all over."""

    def __init__(self, policies: Mapping[str, PoolPolicy], lines: Mapping[str, Line]) -> None:
        self.slots = Slots()
        self.by_name = {
            name: Pool(name, lines[name], Roster(policy.size, policy.limits, self.slots, name))
            for name, policy in policies.items()
        }
        self.all = list(self.by_name.values())
        self._only = self.all[0] if len(self.all) == 1 else None

    def __iter__(self) -> Iterator[Pool]:
        return iter(self.all)

    def __repr__(self) -> str:
        return f"<Pools {', '.join(map(repr, self.all))}>"

    @property
    def default(self) -> Pool:
        """The pool of the functions that belong to no other one."""
        return self.by_name[DEFAULT_POOL]

    def next(self) -> Pool | None:
        """Return the pool whose first task is to start next; None where none can."""
        only = self._only
        if only is not None:  # the usual case
            return only if only.queue.ready and only.roster.idle else None
        able = [pool for pool in self.all if pool.queue.ready and pool.roster.idle]
        return min(able, key=lambda pool: pool.queue.head()) if able else None

    def obey(self, policies: Mapping[str, PoolPolicy]) -> None:
        """Have the executors of each pool be as many, and be as patient, as it says from now on."""
        for pool in self.all:
            policy = policies[pool.name]
            pool.roster.size, pool.roster.limits = policy.size, policy.limits
            pool.queue_size = policy.queue_size

    def renew(self, now: float) -> list[Effect]:
        """Have all tasks from now on run in executors that are yet to be started."""
        self.slots.generation += 1
        return [effect for pool in self.all for effect in pool.roster.renew(now)]

    def roster_of(self, slot: Slot) -> Roster:
        """Return the roster that a slot belongs to."""
        return self.by_name[slot.pool].roster

    def due(self, now: float) -> list[Effect]:
        """Return what the deadlines that have passed call for."""
        effects: list[Effect] = []
        for pool in self.all:
            effects += pool.roster.shrink(now) + pool.roster.due(now)
        return effects

    def given_up(self, now: float) -> list[Slot]:
        """Return the slots whose killed process does not vanish."""
        return [slot for pool in self.all for slot in pool.roster.given_up(now)]

    def reset_alarm(self, now: float) -> None:
        """Set the alarm to the nearest deadline there is, if it has rung."""
        if self.slots.alarm.at <= now:
            self.slots.alarm.at = self.next_deadline()

    def next_deadline(self) -> float:
        """Return when `due` will next have something to say; infinity for never."""
        return min((pool.roster.next_deadline() for pool in self.all), default=math.inf)
