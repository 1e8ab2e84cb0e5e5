"""What differs between two configurations, for a reload to decide on."""

from dataclasses import dataclass

from vera_supervisor.config.faults import dotted, one_line
from vera_supervisor.config.key_paths import flatten
from vera_supervisor.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class Change:
    """One key that differs; the values are as they may be shown, so a secret is masked."""

    key: str
    old: object
    new: object
    #: Whether it can take effect without a restart.
    reloadable: bool

    def __str__(self) -> str:
        return one_line(f"{self.key}: {_words(self.old)} -> {_words(self.new)}")


def changes(old: Config, new: Config) -> list[Change]:
    """Return every key whose value differs, in the order of the schema."""
    before, after = flatten(old), flatten(new)
    found = []
    for path in before | after:
        known, was = before.get(path, (None, None))
        known_now, is_now = after.get(path, (None, None))
        key = known or known_now
        if key and was != is_now:
            found.append(
                Change(
                    key=dotted(path),
                    old=key.shown(was),
                    new=key.shown(is_now),
                    reloadable=key.reloadable,
                )
            )
    return found


def _words(value: object) -> str:
    return "not set" if value is None else str(value)
