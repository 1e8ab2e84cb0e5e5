"""Ids for tasks whose clients gave none: UUIDs of version 7 (RFC 9562), which begin with the time.

Ids in order are neighbours in the store's index, so many new ones touch few of its pages; and an id
of a task that is not kept any more still tells that it is an old one.
"""

import re
from os import urandom
from typing import Final

#: The time is written in milliseconds and 12 bits of their fraction.
_TICKS_PER_S: Final = 1000 << 12
#: The variant of RFC 9562, in the upper half of the last 64 bits; the other 62 are random.
_VARIANT: Final = 0x2 << 62
_RANDOM: Final = (1 << 62) - 1
_OURS: Final = re.compile(
    "([0-9a-f]{8})-([0-9a-f]{4})-7([0-9a-f]{3})-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)


def new_id(wall: float) -> str:
    """Return an id made at `wall`, in seconds since the epoch; it sorts behind those made before.

    The standard library's UUIDs have no version 7 in all its versions, and take twice as long.
    """
    time = f"{int(wall * _TICKS_PER_S):015x}"
    rest = f"{int.from_bytes(urandom(8)) & _RANDOM | _VARIANT:016x}"
    return f"{time[:8]}-{time[8:12]}-7{time[12:]}-{rest[:4]}-{rest[4:]}"


def made_at(task_id: str) -> float | None:
    """Return when an id was made, in seconds since the epoch; None where it is none of these."""
    match = _OURS.fullmatch(task_id)
    return None if match is None else int("".join(match.groups()), 16) / _TICKS_PER_S
