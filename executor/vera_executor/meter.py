"""What an attempt uses of CPU and memory: of this process, and of its children that have ended."""

import resource
import time
from contextlib import suppress
from typing import Final

from vera_worker.tasks import Used

_KIB: Final = 1024
#: Shorter attempts are not worth the time that measuring takes.
_WORTH_S: Final = 0.02


class Meter:
    """Measures one attempt after the other."""

    def __init__(self) -> None:
        self._started = self._cpu = 0.0
        #: Of the children, at the last look: their CPU time, and the memory of the largest.
        self._children_cpu, self._largest_child = _children()
        #: The most memory that this process had before the attempt, in bytes.
        self._high = _peak_bytes()

    def start(self) -> None:
        """An attempt begins."""
        self._started, self._cpu = time.perf_counter(), time.process_time()

    @property
    def duration_s(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self._started

    def used_if_worth(self) -> Used | None:
        """Return what it used; None if it did not last long enough to use much."""
        return self.used() if self.duration_s >= _WORTH_S else None

    def used(self) -> Used:
        """Return what it used."""
        cpu = time.process_time() - self._cpu
        children_cpu, largest_child = _children()
        peak = _peak_bytes()
        if largest_child > self._largest_child:
            peak += largest_child  # it ran beside this process
        used = Used(cpu + children_cpu - self._children_cpu, peak)
        self._children_cpu, self._largest_child = children_cpu, largest_child
        self._forget_peak()
        return used

    def _forget_peak(self) -> None:
        """Have the kernel measure the next attempt's peak from what is in use now."""
        if _peak_bytes() > self._high:
            with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
            self._high = _peak_bytes()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def _children() -> tuple[float, int]:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _KIB
