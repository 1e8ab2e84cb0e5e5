"""The host as this worker sees it: its allowance and what is in use, looked at again and again."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Final

from vera_supervisor.host import allowance as allowances
from vera_supervisor.host import groups
from vera_supervisor.host.machine import Machine
from vera_supervisor.host.processes import Children
from vera_supervisor.host.usage import Sampler, Usage
from vera_worker import process_tree

#: Seconds between two looks.
SAMPLE_INTERVAL_S: Final = 0.25


class Host:
    """What this worker may use, and how much of that is in use."""

    def __init__(
        self,
        max_cores: float | None = None,
        max_memory_bytes: int | None = None,
        *,
        machine: Machine | None = None,
        affinity: Callable[[], frozenset[int]] = lambda: frozenset(os.sched_getaffinity(0)),
        children: Children = process_tree.children,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine = machine or Machine()
        self._groups = groups.find(self._machine)
        self._sampler = Sampler(self._machine, self._groups, children)
        self._affinity = affinity
        self._now = now
        self.max_cores = max_cores
        self.max_memory_bytes = max_memory_bytes
        self.usage = Usage()
        self.look()

    def look(self, executors: Iterable[int] = ()) -> Usage:
        """Read everything anew: limits too can change while the worker runs.

        `executors` are the ids of our executors' processes.
        """
        self.allowance = allowances.read(
            self._machine,
            self._groups,
            self._affinity(),
            self.max_cores,
            self.max_memory_bytes,
        )
        self.usage = self._sampler.look(self.allowance, self._now(), executors)
        return self.usage

    @property
    def cpu_cores(self) -> float:
        """Cores that this worker may use; 0.5 is half of one's time."""
        return self.allowance.cores

    @property
    def memory_total_bytes(self) -> int:
        """Memory that this worker may use."""
        return self.allowance.memory_bytes
