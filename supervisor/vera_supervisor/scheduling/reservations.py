"""What running tasks have reserved of the machine, and whether another one fits. Pure.

A task gets what it asks for while it runs, or it waits: the sum of what is reserved never exceeds
what there is. A task that asks for nothing reserves nothing.
"""

import math
from typing import Final

import msgspec

from vera_worker.tasks import Requirements

#: Rounding errors of sums stay below this.
_ROUNDING: Final = 1e-6


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What tasks may reserve."""

    cpu_cores: float = math.inf
    memory_mb: float = math.inf
    gpus: int = 0


class Reservations:
    """The books: what there is, and what of it is taken."""

    def __init__(self) -> None:
        self.capacity = Capacity()
        self.cpu_cores = self.memory_mb = 0.0
        self.gpus = 0
        self._count = 0

    def __repr__(self) -> str:
        taken = f"{self.cpu_cores:g} cores, {self.memory_mb:g} MiB, {self.gpus} GPUs"
        return f"<Reservations {self._count}: {taken} of {self.capacity}>"

    def impossible(self, need: Requirements) -> tuple[str, str] | None:
        """Return the field that asks for more than there is, and what is wrong; else None."""
        most = self.capacity
        if _cpu(need) > most.cpu_cores + _ROUNDING:
            return _excess("cpu_cores", need.cpu_cores, most.cpu_cores)
        if _memory(need) > most.memory_mb + _ROUNDING:
            return _excess("memory_mb", need.memory_mb, math.floor(most.memory_mb))
        if _gpus(need) > most.gpus:
            return _excess("gpus", need.gpus, most.gpus)
        return None

    def fits(self, need: Requirements) -> bool:
        """Return whether that much is free now."""
        most = self.capacity
        return (
            self.cpu_cores + _cpu(need) <= most.cpu_cores + _ROUNDING
            and self.memory_mb + _memory(need) <= most.memory_mb + _ROUNDING
            and self.gpus + _gpus(need) <= most.gpus
        )

    def take(self, need: Requirements) -> None:
        """An attempt begins that needs so much."""
        self._count += 1
        self.cpu_cores += _cpu(need)
        self.memory_mb += _memory(need)
        self.gpus += _gpus(need)

    def give_back(self, need: Requirements) -> None:
        """That attempt has ended."""
        self._count -= 1
        assert self._count >= 0, self
        self.cpu_cores -= _cpu(need)
        self.memory_mb -= _memory(need)
        self.gpus -= _gpus(need)
        if not self._count:  # so that rounding does not add up
            self.cpu_cores = self.memory_mb = 0.0


def _cpu(need: Requirements) -> float:
    return need.cpu_cores or 0.0


def _memory(need: Requirements) -> float:
    return need.memory_mb or 0.0


def _gpus(need: Requirements) -> int:
    return need.gpus or 0


def _excess(name: str, asked: float | None, has: float) -> tuple[str, str]:
    return f"requirements.{name}", f"{asked:.12g} asked for, this worker has {has:.12g}"
