"""When something that recurs is due, by a cron expression in a time zone; reads no clock.

The expression is compared with the local time of the zone. When its clocks change:

- A time of day (minute and hour both given) happens once a day: if it is skipped, it is due at the
  moment of the change; if it comes twice, it is due the first time.
- A rhythm (minute or hour begins with `*`) follows the clock: what is skipped is left out, what
  comes twice is due twice.

Moments are seconds since the epoch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

#: Seconds after a due time within which it counts as kept, not as missed.
ON_TIME_S: Final = 60.0

_FIELDS: Final = 5
#: No clock was ever set back further since time zones have had rules.
_LARGEST_STEP_BACK: Final = timedelta(hours=3)
#: Where the search begins that finds out whether an expression is ever due: in a leap year, and at
#: a time when no zone changes its clocks.
_SOME_DAY: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - the clock on the wall
_MINUTE: Final = timedelta(minutes=1)


class MissedRun(StrEnum):
    """What to do about a due time that the worker has missed."""

    SKIP = "skip"
    #: The last one that was missed is made up for; those before it are not.
    RUN_ONCE = "run_once"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a look at the clock comes to, for one schedule."""

    #: The due time to act on, if any.
    run: int | None = None
    #: The last due time that passed and is given up, if any.
    missed: int | None = None


class Recurrence:
    """The due times of one cron expression in one time zone."""

    def __init__(self, cron: str, timezone: str) -> None:
        self._cron = cron
        self._zone = ZoneInfo(timezone)
        minute, hour = cron.split()[:2]
        self._follows_clock = minute.startswith("*") or hour.startswith("*")

    def next_after(self, moment: float) -> int | None:
        """Return the first due time after `moment`; None if there is none for 50 years."""
        start = self._on_the_wall(moment) - _LARGEST_STEP_BACK
        best: int | None = None
        beyond: datetime | None = None
        for shown in CronSim(self._cron, start):
            if beyond is not None and shown > beyond:
                break
            later = [at for at in self._moments(shown) if at > moment]
            if later and (best is None or min(later) < best):
                best = min(later)
                # The clock may show a later time at an earlier moment, but not by more.
                beyond = beyond or shown + _LARGEST_STEP_BACK
        return best

    def last_until(self, moment: float) -> int | None:
        """Return the last due time not after `moment`; None if there was none for 50 years."""
        start = self._on_the_wall(moment) + _LARGEST_STEP_BACK
        best: int | None = None
        before: datetime | None = None
        for shown in CronSim(self._cron, start, reverse=True):
            if before is not None and shown < before:
                break
            earlier = [at for at in self._moments(shown) if at <= moment]
            if earlier and (best is None or max(earlier) > best):
                best = max(earlier)
                before = before or shown - _LARGEST_STEP_BACK
        return best

    def turn(self, since: float, now: float, missed: MissedRun) -> Turn:
        """Return what to do at `now`, where all due times up to `since` are dealt with."""
        due = self.last_until(now)
        if due is None or due <= since:
            return Turn()
        if missed is MissedRun.RUN_ONCE or now - due <= ON_TIME_S:
            return Turn(run=due)
        return Turn(missed=due)

    def _on_the_wall(self, moment: float) -> datetime:
        return datetime.fromtimestamp(moment, self._zone).replace(tzinfo=None)

    def _moments(self, shown: datetime) -> Iterator[int]:
        """Yield the moments at which what is due when the clock shows that is due."""
        first = self._moment(shown, fold=0)
        if self._on_the_wall(first) == shown:
            yield first
            if self._follows_clock and (second := self._moment(shown, fold=1)) != first:
                yield second
        elif not self._follows_clock:
            while self._on_the_wall(self._moment(shown, fold=0)) != shown:
                shown += _MINUTE
            yield self._moment(shown, fold=0)

    def _moment(self, shown: datetime, fold: int) -> int:
        return int(shown.replace(tzinfo=self._zone, fold=fold).timestamp())


def is_cron(text: str) -> bool:
    """Return whether this is a cron expression of five fields that is ever due."""
    try:
        return len(text.split()) == _FIELDS and any(True for _ in CronSim(text, _SOME_DAY))
    except (CronSimError, ValueError):  # the latter for numbers of thousands of digits
        return False


def is_timezone(text: str) -> bool:
    """Return whether this machine knows a time zone of that name."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def due_text(due: int) -> str:
    """Return a due time as it stands in ids and logs, e.g. "20261124T030000Z"."""
    return datetime.fromtimestamp(due, UTC).strftime("%Y%m%dT%H%M%SZ")
