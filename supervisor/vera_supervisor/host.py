"""What this worker may use of the machine, and how much of that is in use."""

import os
from typing import Final

import msgspec
import psutil

#: Seconds between two looks.
SAMPLE_INTERVAL_S: Final = 0.5
_MB: Final = 1024 * 1024


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One look."""

    cpu_percent: float
    memory_percent: float
    memory_used_mb: float


class Host:
    """The cores and the memory that are there for this worker."""

    def __init__(self) -> None:
        self.cpu_cores = len(os.sched_getaffinity(0))
        self.memory_total_bytes: int = psutil.virtual_memory().total
        psutil.cpu_percent()  # the first call only takes a mark
        self.usage = self.look()

    def look(self) -> Usage:
        """Measure anew: CPU since the last look, memory at this moment."""
        memory = psutil.virtual_memory()
        self.usage = Usage(
            cpu_percent=psutil.cpu_percent(),
            memory_percent=memory.percent,
            memory_used_mb=round((memory.total - memory.available) / _MB, 1),
        )
        return self.usage
