# ruff: noqa: RUF009 - key() returns a dataclass field
"""What can be configured of a task that recurs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vera_supervisor.config.keys import key, required
from vera_supervisor.config.kinds import Choice, Kind, Seconds, UnfitError
from vera_supervisor.config.texts import CRON, FUNCTION, SCHEDULE_NAME, TIMEZONE
from vera_supervisor.recurrence import MissedRun
from vera_worker.tasks import Priority

_LARGEST_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True)
class Arguments(Kind[tuple[Any, ...]]):
    """The positional arguments of a call."""

    @property
    def expected(self) -> str:
        return "a list of values that JSON has"

    def read(self, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise UnfitError(value)
        _check_json(value)
        return tuple(value)

    def to_toml(self, value: object) -> object:
        return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class NamedArguments(Kind[Mapping[str, Any]]):
    """The arguments of a call that go by name."""

    @property
    def expected(self) -> str:
        return "a table of values that JSON has"

    def read(self, value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise UnfitError(value)
        _check_json(value)
        return value

    def to_toml(self, value: object) -> object:
        return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A task that recurs; one such table for each, by default none."""

    name: str = required(
        SCHEDULE_NAME, "What it is called in ids, tags and logs.", example="nightly"
    )
    cron: str = required(
        CRON, "When it is due: minute, hour, day, month and weekday.", example="30 3 * * MON-FRI"
    )
    function: str = required(FUNCTION, "The function to call.", example="analyze_data")
    args: tuple[Any, ...] = key((), Arguments(), "Its arguments.", example=[1, 2, 3])
    kwargs: Mapping[str, Any] | None = key(
        None, NamedArguments(), "Its arguments by name.", example={"mode": "fast"}
    )
    priority: Priority | None = key(
        None, Choice(Priority), "Priority of its tasks; unset: that of the function.", example="low"
    )
    timeout: float | None = key(
        None,
        Seconds(positive=True),
        "Seconds that an attempt may take; unset: those of the function.",
        example="10m",
    )
    timezone: str = key("UTC", TIMEZONE, "The time zone of the expression.")
    missed: MissedRun = key(
        MissedRun.SKIP,
        Choice(MissedRun),
        "What to do about runs that were missed: skip them, or make up for the last (run_once).",
    )


def _check_json(value: object) -> None:
    """Raise UnfitError for what JSON has no word for: dates, NaN, infinities, huge integers."""
    match value:
        case list():
            for item in value:
                _check_json(item)
        case dict():
            for item in value.values():
                _check_json(item)
        case float() if math.isfinite(value):
            pass
        case int() if abs(value) <= _LARGEST_INTEGER:
            pass
        case str():
            pass
        case _:
            raise UnfitError(value)
