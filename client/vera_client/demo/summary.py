"""What the demo found out: pure arithmetic over what it saw."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from vera_client.demo.workload import Outcome, Seen


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A demo in numbers; times are seconds."""

    files: int
    nodes: int
    #: Tasks that failed where the direct call fails as well, and where it does not.
    failures_expected: int
    failures_unexpected: int
    #: Files with another outcome than the direct call's.
    mismatches: list[str]
    wall_s: float
    tasks_per_s: float
    latency_p50_s: float
    latency_p95_s: float
    latency_p99_s: float
    executors: int

    @property
    def good(self) -> bool:
        """Whether the worker did everything as a direct call does it."""
        return not self.mismatches


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of `values` that is not less than `percent` of them; 0 for none."""
    if not values:
        return 0.0
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def summarise(
    seen: Mapping[str, Seen], direct: Mapping[str, Outcome], wall_s: float, executors: int
) -> Summary:
    """Compare and count."""
    latencies = [what.latency_s for what in seen.values()]
    failed = [path for path, what in seen.items() if isinstance(what.outcome, str)]
    expected = sum(isinstance(direct.get(path), str) for path in failed)
    return Summary(
        files=len(seen),
        nodes=sum(what.outcome for what in seen.values() if isinstance(what.outcome, int)),
        failures_expected=expected,
        failures_unexpected=len(failed) - expected,
        mismatches=[
            path
            for path in sorted(seen.keys() | direct.keys())
            if path not in seen or seen[path].outcome != direct.get(path)
        ],
        wall_s=wall_s,
        tasks_per_s=len(seen) / wall_s if wall_s else 0.0,
        latency_p50_s=percentile(latencies, 50),
        latency_p95_s=percentile(latencies, 95),
        latency_p99_s=percentile(latencies, 99),
        executors=executors,
    )
