"""The few numbers that only Prometheus' text has: tasks queued by priority, executors by state."""

import re
from typing import Final

_SAMPLE: Final = re.compile(r'^(\w+)\{(\w+)="((?:[^"\\]|\\.)*)"\} (\S+)', re.MULTILINE)


def by_label(text: str, family: str, label: str) -> dict[str, int]:
    """Return the values of a gauge with one label, by that label's value."""
    return {
        value: int(float(number))
        for name, key, value, number in _SAMPLE.findall(text)
        if name == family and key == label
    }
