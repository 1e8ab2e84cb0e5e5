"""Figures of several rounds, printed as a table or as JSON: median, spread, ratios.

Rounds visit every figure in turn, so a slow minute of a shared machine hits all of them alike, and
a ratio is taken round by round, where it mostly cancels.
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

ROUNDS = 3


@dataclass
class Figure:
    """One measured number, once per round."""

    name: str
    unit: str
    runs: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The number that stands for all rounds."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        """From the lowest round to the highest, as a part of the median."""
        width = max(self.runs) - min(self.runs)
        return width / abs(self.median) if width else 0.0

    def over(self, other: "Figure") -> "Figure":
        """Divide by another figure of the same rounds."""
        pairs = zip(self.runs, other.runs, strict=True)
        return Figure(f"{self.name} / {other.name}", "", [mine / its for mine, its in pairs])

    def line(self, width: int) -> str:
        """One row of the table."""
        return (
            f"  {self.name:<{width}} {_number(self.median):>10} {self.unit:<11}"
            f" spread {self.spread:>4.0%}   {_number(min(self.runs))} … {_number(max(self.runs))}"
        )

    def record(self) -> dict[str, object]:
        """Return the figure as JSON shows it."""
        return {"unit": self.unit, "median": self.median, "spread": self.spread, "runs": self.runs}


class Report:
    """The figures of one script, in the order in which they first came."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._figures: dict[str, Figure] = {}
        self._ratios: list[tuple[str, str]] = []

    def add(self, name: str, unit: str, value: float) -> None:
        """Take one round's value of a figure."""
        self._figures.setdefault(name, Figure(name, unit)).runs.append(value)

    def compare(self, name: str, to: str) -> None:
        """Show one figure as a ratio to another."""
        self._ratios.append((name, to))

    @property
    def ratios(self) -> list[Figure]:
        """The comparisons asked for."""
        return [self._figures[name].over(self._figures[to]) for name, to in self._ratios]

    def table(self) -> str:
        """Return the report for people."""
        figures, ratios = list(self._figures.values()), self.ratios
        width = max(len(figure.name) for figure in figures + ratios)
        rounds = max(len(figure.runs) for figure in figures)
        about = ", ".join(f"{name} {value}" for name, value in machine().items())
        lines = [self._title, f"  {about}; medians of {rounds} rounds", ""]
        lines += [figure.line(width) for figure in figures]
        if ratios:
            lines += ["", *(ratio.line(width) for ratio in ratios)]
        return "\n".join(lines)

    def json(self) -> str:
        """Return the report for programs."""
        return json.dumps(
            {
                "title": self._title,
                "machine": machine(),
                "figures": {figure.name: figure.record() for figure in self._figures.values()},
                "ratios": {ratio.name: ratio.record() for ratio in self.ratios},
            },
            indent=2,
        )


def machine() -> dict[str, str]:
    """Say what the figures were taken on."""
    return {
        "CPUs": str(len(os.sched_getaffinity(0))),
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }


def run(title: str, measure: Callable[[Report, int], None]) -> None:
    """Carry a script out: read its options, let it measure so many rounds, print the report."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs of every part")
    options = parser.parse_args()
    report = Report(title)
    measure(report, options.rounds)
    print(report.json() if options.json else report.table())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
