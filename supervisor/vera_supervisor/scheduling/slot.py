"""One place for an executor: what it does now, and by when it must have done it.

    STARTING ──ready──▶ IDLE ◀──answered── CHECKING
                        │  ▲
                  assign│  │release
                        ▼  │
                        BUSY ──▶ STOPPING ──▶ KILLING ──▶ (lost)

Each state has a deadline. When it passes in IDLE, the executor is asked for a sign of life; in any
other state the ladder goes one rung down: a polite request, a dump of the stack, SIGKILL for the
whole process tree. Nothing here waits, and nothing acts.
"""

import math
from enum import Enum, auto
from typing import Final

import msgspec

from vera_supervisor.scheduling.effects import Check, DumpStack, Effect, Kill, Stop
from vera_worker.tasks import DEFAULT_POOL, Cause

#: The stack is dumped so long before the kill; faulthandler needs a few milliseconds.
DUMP_LEAD_S: Final = 0.2
#: The same where there is no time to lose: over a memory limit, or when the worker stops.
SHORT_DUMP_LEAD_S: Final = 0.1
#: An idle executor answers its self-check within this, or it is killed.
ANSWER_S: Final = 5.0
#: A retiring executor leaves within this, or it is killed.
RETIRE_S: Final = 5.0
#: Killed processes vanish in milliseconds. One in uninterruptible sleep does not: it is given up.
VANISH_S: Final = 0.3


class SlotState(Enum):
    """What the executor of a slot is doing."""

    STARTING = auto()
    IDLE = auto()
    #: It was asked for a sign of life.
    CHECKING = auto()
    BUSY = auto()
    #: Its task was asked to stop.
    STOPPING = auto()
    #: It was told to leave.
    RETIRING = auto()
    KILLING = auto()


# Also by these names: looking a member up in its class costs five times as much.
STARTING, IDLE, CHECKING, BUSY, STOPPING, RETIRING, KILLING = SlotState


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long an executor may take for what it does, in seconds."""

    start_timeout_s: float
    check_interval_s: float
    kill_grace_s: float


class Alarm:
    """When the nearest deadline of all that share it is due, at the latest; infinity for none.

    It may ring early, after a deadline was put off: looking at all slots whenever one of them moves
    on would cost more than being woken once too often.
    """

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = math.inf

    def set(self, at: float) -> None:
        """Let it ring at `at` at the latest."""
        if at < self.at:
            self.at = at


class Slot:
    """The state machine of one executor; `now` is always the monotonic clock."""

    __slots__ = (
        "_alarm",
        "attempt",
        "deadline",
        "dumped",
        "generation",
        "idle_since",
        "pool",
        "seat",
        "slot_id",
        "state",
        "task_id",
        "tasks",
        "why",
    )

    def __init__(  # noqa: PLR0917 - the last two are for where there are several
        self,
        slot_id: int,
        now: float,
        limits: Limits,
        alarm: Alarm,
        pool: str = DEFAULT_POOL,
        seat: int = 0,
    ) -> None:
        self.slot_id = slot_id
        #: The name of its pool, and its number among those there that have an executor now, from 0.
        self.pool = pool
        self.seat = seat
        #: Of the code that its executor runs.
        self.generation = 1
        self.state = STARTING
        self._alarm = alarm
        #: When the present state has lasted too long.
        self.deadline: float
        self._until(now + limits.start_timeout_s)
        self.task_id: str | None = None
        self.attempt = 0
        #: How many attempts it was given so far.
        self.tasks = 0
        #: Why its task was asked to stop.
        self.why: Cause | None = None
        self.dumped = False
        self.idle_since = math.inf

    def __repr__(self) -> str:
        task = f" {self.task_id} attempt {self.attempt}" if self.task_id else ""
        return f"<Slot {self.slot_id} {self.state.name.lower()}{task}>"

    def rest(self, now: float, limits: Limits) -> None:
        """It is ready for a task, the first or another one."""
        self.state = IDLE
        self.task_id = self.why = None
        self.idle_since = now
        self._until(now + limits.check_interval_s)

    def answered(self, now: float, limits: Limits) -> None:
        """It passed its self-check; that is no work, so it has been idle all along."""
        self.state = IDLE
        self._until(now + limits.check_interval_s)

    @property
    def was_ready(self) -> bool:
        """Whether its executor ever got so far as to take a task."""
        return self.idle_since != math.inf

    def assign(self, task_id: str, attempt: int, now: float, timeout_s: float) -> None:
        """It gets a task, which must end within `timeout_s`."""
        assert self.state is IDLE, self
        self.state = BUSY
        self.task_id = task_id
        self.attempt = attempt
        self.tasks += 1
        self._until(now + timeout_s)

    def runs(self, task_id: str, attempt: int) -> bool:
        """Return whether this attempt is the one it works on."""
        return (
            self.attempt == attempt and self.task_id == task_id and self.state in (BUSY, STOPPING)
        )

    def stop(self, why: Cause, now: float, limits: Limits) -> list[Effect]:
        """Its task shall end, for the reason given; the first reason counts."""
        if self.state is not BUSY:
            return []
        self.state = STOPPING
        self.why = why
        self.dumped = False
        self._until(now + max(0.0, limits.kill_grace_s - DUMP_LEAD_S))
        return [Stop(self.slot_id)]

    def end_now(self, why: Cause, now: float) -> list[Effect]:
        """Its task, if it has one, is ended without being asked first; the first reason counts."""
        if self.state is BUSY:
            self.state = STOPPING
            self.why = why
        elif self.state is not STOPPING or self.dumped:
            return []
        self.dumped = True
        self._until(now + SHORT_DUMP_LEAD_S)
        return [DumpStack(self.slot_id)]

    def retire(self, now: float) -> None:
        """It was told to leave."""
        self.state = RETIRING
        self.task_id = self.why = None
        self._until(now + RETIRE_S)

    def kill(self, now: float) -> list[Effect]:
        """It is to be killed, now."""
        if self.state is KILLING:
            return []
        self.state = KILLING
        self._until(now + VANISH_S)
        return [Kill(self.slot_id)]

    def time_up(self, now: float, limits: Limits) -> list[Effect]:
        """Its deadline has passed: go one rung down."""
        match self.state:
            case SlotState.BUSY:
                return self.stop(Cause.TIMEOUT, now, limits)
            case SlotState.STOPPING if not self.dumped:
                self.dumped = True
                self._until(now + min(DUMP_LEAD_S, limits.kill_grace_s))
                return [DumpStack(self.slot_id)]
            case SlotState.IDLE:
                self.state = CHECKING
                self._until(now + ANSWER_S)
                return [Check(self.slot_id)]
            case _:
                return self.kill(now)

    def _until(self, deadline: float) -> None:
        self.deadline = deadline
        alarm = self._alarm
        if deadline < alarm.at:  # as alarm.set(); twice for every task
            alarm.at = deadline
