"""What the attempts of each function have used so far, and what the next one is likely to. Pure.

A task that says what it needs is believed. For one that says nothing, this is the guess: a function
that is known to need much has that much reserved, so that not all of its tasks start at once. One
that needs little, or is not known yet, reserves nothing.
"""

import math
from typing import Final

import msgspec

from vera_supervisor.scheduling.reservations import Capacity
from vera_worker.tasks import Requirements, Used

_MIB: Final = 1024 * 1024
#: A peak is believed at once; each attempt that stays below it lowers it by this part.
_FORGOTTEN: Final = 0.05
#: What the last attempt adds to a mean.
_WEIGHT: Final = 0.2
#: Shorter attempts take turns at the CPU; the limit on its use is enough for them.
_LONG_S: Final = 1.0
#: Cores; less than this is little.
_MUCH_CPU: Final = 0.5
#: Part of an executor's equal share of the memory; less than this is little.
_MUCH_MEMORY: Final = 0.25
#: A guess is replaced once its memory is off by this part.
_DIFFERENT: Final = 0.1


class Habit(msgspec.Struct):
    """What attempts of one function use."""

    #: How many lasted long enough to be measured.
    attempts: int = 0
    #: The most memory, of late.
    peak_memory_mb: float = 0.0
    #: Mean number of cores that they keep busy.
    cpu_cores: float = 0.0
    #: Mean length.
    duration_s: float = 0.0

    def note(self, used: Used, duration_s: float) -> None:
        """Take in one more attempt."""
        peak_mb = used.peak_bytes / _MIB
        kept = self.peak_memory_mb * (1.0 - _FORGOTTEN)
        self.peak_memory_mb = round(max(peak_mb, kept + peak_mb * _FORGOTTEN), 1)
        weight = _WEIGHT if self.attempts else 1.0
        cores = used.cpu_seconds / max(duration_s, 0.001)
        self.cpu_cores = round(self.cpu_cores + weight * (cores - self.cpu_cores), 4)
        self.duration_s = round(self.duration_s + weight * (duration_s - self.duration_s), 4)
        self.attempts += 1


class Habits:
    """All functions that were measured."""

    def __init__(self) -> None:
        self._habits: dict[str, Habit] = {}
        #: Of those that need much.
        self._guesses: dict[str, Requirements] = {}
        self._capacity = Capacity()
        self._little_mb = math.inf
        #: Whether there is something new to keep.
        self.changed = False

    def get(self, function: str) -> Habit | None:
        """Return what is known of a function."""
        return self._habits.get(function)

    def guess(self, function: str) -> Requirements | None:
        """Return what to reserve for an attempt that says nothing; None: nothing."""
        return self._guesses.get(function)

    def note(self, function: str, used: Used, duration_s: float) -> None:
        """An attempt of that function has ended."""
        habit = self._habits.get(function)
        if habit is None:
            habit = self._habits[function] = Habit()
        habit.note(used, duration_s)
        self._guess(function, habit)
        self.changed = True

    def offer(self, capacity: Capacity, executors: int) -> None:
        """Guess by what this worker has, and so many executors share, from now on."""
        little_mb = _MUCH_MEMORY * capacity.memory_mb / max(1, executors)
        if capacity != self._capacity or little_mb != self._little_mb:
            self._capacity, self._little_mb = capacity, little_mb
            for function, habit in self._habits.items():
                self._guess(function, habit)

    def restore(self, habits: dict[str, Habit]) -> None:
        """Go on with what an earlier run knew, also of functions that a reload may bring back."""
        self._habits = habits | self._habits
        for function, habit in self._habits.items():
            self._guess(function, habit)

    def kept(self) -> dict[str, Habit]:
        """Return what a later run can go on with."""
        self.changed = False
        return {name: msgspec.structs.replace(habit) for name, habit in self._habits.items()}

    def _guess(self, function: str, habit: Habit) -> None:
        cores = round(habit.cpu_cores, 1)
        much_cpu = habit.duration_s >= _LONG_S and cores >= _MUCH_CPU
        much_memory = habit.peak_memory_mb > self._little_mb
        if not much_cpu and not much_memory:
            self._guesses.pop(function, None)
            return
        # No more than there is: it would never start, and this is only a guess.
        cores = min(cores, self._capacity.cpu_cores) if much_cpu else 0.0
        memory_mb = min(habit.peak_memory_mb, self._capacity.memory_mb) if much_memory else 0.0
        known = self._guesses.get(function)
        if known is not None and known.cpu_cores == (cores or None):
            known_mb = known.memory_mb or 0.0
            if abs(known_mb - memory_mb) <= _DIFFERENT * known_mb:
                return
        self._guesses[function] = Requirements(
            cpu_cores=cores or None, memory_mb=round(memory_mb, 1) or None
        )
