"""What this process keeps of the memory that it has used."""

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_LARGE_BYTES: Final = 256 * 1024


def return_large_blocks() -> None:
    """Have large blocks go back to the system as soon as they are free; on glibc, else nothing.

    By itself glibc begins to keep blocks of up to 32 MiB once one of them was given back, and one
    small block behind them holds them all: after a hundred large answers the worker would keep
    a gigabyte.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
