"""How many tasks may start, by how much of the machine is in use. Pure.

While everything is under its limit, anything may start. Above a limit the gate closes, and it gives
a reason until it has stood wide open for a while:

- If others use so much that nothing is left for us, or memory runs short, nothing starts. After two
  good looks in a row one task may start, then two more, then four more… While we take a share,
  others use less than they would: a worker that has no task, and only answers clients, believes
  that nothing is left as soon as their share is the larger one.
- If it is our own tasks that use the CPU, each that ends makes room for a fraction of one. So a
  flood of short tasks is slowed down to the limit, instead of being stopped and released by turns.
"""

import math
from typing import Final

import msgspec

from vera_supervisor.scheduling.waiting import Blocked

#: Memory must fall by this part of its limit below it before tasks start again.
MEMORY_HYSTERESIS: Final = 0.05
#: A share of the time spent waiting for memory, in percent, at which it runs short in any case.
MAX_MEMORY_PRESSURE: Final = 20.0
#: Looks in a row that must be good before the first task starts again.
LOOKS_TO_REOPEN: Final = 2
#: Looks in a row at which there was room to spare before the gate is forgotten.
LOOKS_TO_FORGET: Final = 20
_WHOLE: Final = 100.0
#: Looks in a row at which all was closed before that is no passing moment any more.
LOOKS_OF_STANDSTILL: Final = 8
#: From one look to the next, our own tasks may become so much more numerous.
_MOST_GROWTH: Final = 2.0


class Ceilings(msgspec.Struct, frozen=True, kw_only=True):
    """Percentages of what this worker may use; 100: no limit."""

    max_cpu_percent: float = 100.0
    max_memory_percent: float = 100.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is in use, in percent of what this worker may use."""

    cpu_percent: float
    #: The part of that which this worker and its executors use themselves.
    own_cpu_percent: float
    memory_percent: float
    #: Share of the time in which some process waited for memory.
    memory_pressure_percent: float = 0.0


class Admission:
    """The gate that every start of a task passes."""

    def __init__(self, ceilings: Ceilings) -> None:
        self.ceilings = ceilings
        #: What holds tasks back, or did lately.
        self.reason: Blocked | None = None
        #: Tasks that may start until the next look.
        self.room = math.inf
        self._running = 0  # attempts
        self._ended = 0  # of them, since the last look
        self._step = 1.0  # how many more may start than have ended, where there is room
        self._good_looks = 0
        self._closed_looks = 0  # since a task could last start

    @property
    def open(self) -> bool:
        """Whether a task may start now."""
        return self.room >= 1.0

    @property
    def blocked(self) -> Blocked | None:
        """What keeps tasks from starting now."""
        return None if self.room >= 1.0 else self.reason

    @property
    def standstill(self) -> bool:
        """Whether others have left nothing for us for so long that no start is to be expected.

        That our own tasks use all there is, is none: it is what the worker is for.
        """
        return self._closed_looks >= LOOKS_OF_STANDSTILL

    def started(self) -> None:
        """A task has started."""
        self._running += 1
        self.room -= 1.0

    def ended(self) -> None:
        """A task that had started has ended."""
        self._running -= 1
        self._ended += 1

    def look(self, load: Load) -> None:
        """Decide anew; to be called every quarter of a second."""
        ended, self._ended = self._ended, 0
        if self._memory_is_short(load):
            self._close(Blocked.MEMORY)
            return
        own = load.own_cpu_percent
        others = load.cpu_percent - own
        left = self.ceilings.max_cpu_percent - others
        idle = not (ended or self._running)
        if load.cpu_percent <= self.ceilings.max_cpu_percent:
            if self.reason is not None:
                self._reopen(ended, left / max(own, 1.0))
        elif left <= 0 or (idle and others >= own):
            self._close(Blocked.CPU)
        else:
            self.reason, self._step = Blocked.CPU, 1.0
            self._good_looks = self._closed_looks = 0
            # Without tasks it is clients that keep us busy: they must not keep all tasks out.
            self.room = 1.0 if idle else min(self.room, 1.0) + ended * left / own

    def _memory_is_short(self, load: Load) -> bool:
        most = self.ceilings.max_memory_percent
        if most >= _WHOLE:
            return False
        if self.reason is Blocked.MEMORY and not self.open:
            most *= 1.0 - MEMORY_HYSTERESIS
        return load.memory_percent > most or load.memory_pressure_percent > MAX_MEMORY_PRESSURE

    def _close(self, reason: Blocked) -> None:
        self.reason, self.room, self._step, self._good_looks = reason, 0.0, 0.0, 0
        self._closed_looks += 1

    def _reopen(self, ended: int, growth: float) -> None:
        self._good_looks += 1
        if self._step == 0.0:  # it was closed for all
            if self._good_looks >= LOOKS_TO_REOPEN:
                self.room = self._step = 1.0
                self._good_looks = self._closed_looks = 0
            return
        used_up = not self.open
        if used_up:  # more might have started
            self._good_looks = 0
        elif self._good_looks >= LOOKS_TO_FORGET:
            self.reason, self.room = None, math.inf
            return
        self.room = min(self.room, 1.0) + ended * min(growth, _MOST_GROWTH) + self._step
        if used_up:
            self._step *= 2.0
