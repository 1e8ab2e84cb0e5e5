"""What is counted and measured, once: GET /metrics and Prometheus read the same numbers."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from vera_supervisor.scheduling.effects import Announce, Refusal
from vera_worker.lifecycle import CANCELLED, COMPLETED
from vera_worker.tasks import Cause, Priority

_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600)


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand at one moment."""

    active_tasks: int
    #: By priority.
    queue_size: Mapping[str, int]
    #: By state.
    executors: Mapping[str, int]
    #: How many were lost since the start, by what ended them.
    executor_losses: Mapping[str, int]
    #: By pool and state.
    pool_executors: Mapping[tuple[str, str], int]
    #: By pool.
    pool_queue_size: Mapping[str, int]
    #: By what holds waiting tasks back: 1 while it does.
    admission_blocked: Mapping[str, int]
    event_loop_lag_s: float
    cpu_percent: float
    memory_percent: float


class Distribution:
    """How many values fell between which bounds: a histogram that costs next to nothing to fill."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Return how many values are at most as large as each bound."""
        bounds = [*map(str, _SECONDS), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


class Metrics:
    """Counts and histograms since the start; no label ever takes a client's word."""

    def __init__(self) -> None:
        self.completed = 0
        self.failed: Counter[Cause] = Counter()
        self.cancelled = 0
        self.refusals: Counter[Refusal] = Counter()
        self.commit_seconds = Distribution()
        #: By pool.
        self.start_seconds: defaultdict[str, Distribution] = defaultdict(Distribution)
        self.run_seconds: defaultdict[str, Distribution] = defaultdict(Distribution)
        self.wait_seconds: dict[str, Distribution] = {
            priority: Distribution() for priority in Priority
        }

    @property
    def average_execution_time_s(self) -> float:
        """Mean time from start to end of the tasks that ran to an end; 0 before the first."""
        runs = sum(run.count for run in self.run_seconds.values())
        return sum(run.total for run in self.run_seconds.values()) / runs if runs else 0.0

    def ended(self, end: Announce) -> None:
        """A task has ended."""
        if end.status is COMPLETED:
            self.completed += 1
        elif end.status is CANCELLED:
            self.cancelled += 1
        else:
            assert end.failure is not None, end
            self.failed[end.failure.cause] += 1
        task, waited_s, ran_s = end.task, end.waited_s, end.ran_s
        if ran_s is not None and waited_s is not None:
            self.wait_seconds[task.priority].observe(waited_s)
            self.run_seconds[task.function].observe(ran_s)


class _Snapshot(Collector):
    """Reads the counts and gauges at the moment of a scrape."""

    def __init__(
        self, metrics: Metrics, gauges: Callable[[], Gauges], worker_id: str, version: str
    ) -> None:
        self._metrics = metrics
        self._gauges = gauges
        self._identity = (worker_id, version)

    def collect(self) -> Iterable[Metric]:
        now = self._gauges()
        yield from self._counters(now)
        yield from self._histograms()
        yield from self._of_this_moment(now)
        info = GaugeMetricFamily("worker_info", "This worker.", labels=["worker_id", "version"])
        info.add_metric(self._identity, 1)
        yield info

    def _counters(self, now: Gauges) -> Iterable[Metric]:
        metrics = self._metrics
        yield CounterMetricFamily("tasks_completed", "Tasks that completed.", metrics.completed)
        yield CounterMetricFamily(
            "tasks_cancelled", "Tasks that were cancelled.", metrics.cancelled
        )
        yield _counters(
            "tasks_failed", "Tasks that failed.", "cause", {c: metrics.failed[c] for c in Cause}
        )
        yield _counters(
            "submissions_rejected",
            "Submissions that were refused.",
            "reason",
            {r: metrics.refusals[r] for r in Refusal if r is not Refusal.TOO_LATE},
        )
        yield _counters(
            "executor_restarts",
            "Executors that were lost and replaced.",
            "cause",
            now.executor_losses,
        )

    def _histograms(self) -> Iterable[Metric]:
        metrics = self._metrics
        yield _histograms(
            "executor_start_seconds",
            "From the launch of an executor to its being ready for a task.",
            "pool",
            metrics.start_seconds,
        )
        yield _histograms(
            "task_duration_seconds",
            "From the last start of a task to its end.",
            "function",
            metrics.run_seconds,
        )
        yield _histograms(
            "task_wait_seconds",
            "From the acceptance of a task to its last start.",
            "priority",
            metrics.wait_seconds,
        )
        commits = metrics.commit_seconds
        yield HistogramMetricFamily(
            "store_commit_seconds",
            "What one commit of the store takes.",
            commits.cumulative(),
            commits.total,
        )

    def _of_this_moment(self, now: Gauges) -> Iterable[Metric]:
        yield GaugeMetricFamily("active_tasks", "Tasks that run now.", now.active_tasks)
        yield _gauges("queue_size", "Tasks that wait.", "priority", now.queue_size)
        yield _gauges("executors", "Executor processes.", "state", now.executors)
        family = GaugeMetricFamily(
            "pool_executors", "Executor processes of each pool.", labels=["pool", "state"]
        )
        for labels, value in now.pool_executors.items():
            family.add_metric(labels, value)
        yield family
        yield _gauges(
            "pool_queue_size",
            "Tasks that wait for an executor of the pool.",
            "pool",
            now.pool_queue_size,
        )
        yield _gauges(
            "admission_blocked",
            "Whether this holds waiting tasks back.",
            "reason",
            now.admission_blocked,
        )
        yield GaugeMetricFamily(
            "event_loop_lag_seconds",
            "How late the event loop was at most, in the last 15 s.",
            now.event_loop_lag_s,
        )
        yield GaugeMetricFamily("cpu_percent", "CPU in use, of what is allowed.", now.cpu_percent)
        yield GaugeMetricFamily(
            "memory_percent", "Memory in use, of what is allowed.", now.memory_percent
        )


def exposition(
    metrics: Metrics, gauges: Callable[[], Gauges], worker_id: str, version: str
) -> Callable[[], bytes]:
    """Return what writes all metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(metrics, gauges, worker_id, version))
    return lambda: generate_latest(registry)


def _counters(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _histograms(name: str, about: str, label: str, values: Mapping[str, Distribution]) -> Metric:
    family = HistogramMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value.cumulative(), value.total)
    return family
