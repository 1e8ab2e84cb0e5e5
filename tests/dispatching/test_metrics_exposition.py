"""The numbers, in the format that Prometheus reads and under the names that were promised."""

from typing import Any, Final

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.makers import make_task
from vera_supervisor.metrics import Distribution, Gauges, Metrics, exposition
from vera_supervisor.scheduling.effects import Announce, Refusal
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure, Priority

#: name -> (type, labels), as the contract has them.
PROMISED: Final = {
    "tasks_completed_total": ("counter", set()),
    "tasks_failed_total": ("counter", {"cause"}),
    "tasks_cancelled_total": ("counter", set()),
    "task_duration_seconds": ("histogram", {"function"}),
    "task_wait_seconds": ("histogram", {"priority"}),
    "active_tasks": ("gauge", set()),
    "queue_size": ("gauge", {"priority"}),
    "executors": ("gauge", {"state"}),
    "pool_executors": ("gauge", {"pool", "state"}),
    "pool_queue_size": ("gauge", {"pool"}),
    "executor_start_seconds": ("histogram", {"pool"}),
    "executor_restarts_total": ("counter", {"cause"}),
    "admission_blocked": ("gauge", {"reason"}),
    "submissions_rejected_total": ("counter", {"reason"}),
    "store_commit_seconds": ("histogram", set()),
    "event_loop_lag_seconds": ("gauge", set()),
    "cpu_percent": ("gauge", set()),
    "memory_percent": ("gauge", set()),
    "worker_info": ("gauge", {"worker_id", "version"}),
}

GAUGES: Final = Gauges(
    active_tasks=3,
    queue_size={priority.value: 2 for priority in Priority},
    executors={"idle": 1, "busy": 3},
    executor_losses={"crashed": 1},
    pool_executors={("default", "idle"): 1, ("gpu", "busy"): 3},
    pool_queue_size={"default": 8, "gpu": 0},
    admission_blocked={"cpu": 1, "memory": 0},
    event_loop_lag_s=0.002,
    cpu_percent=12.5,
    memory_percent=40.0,
)


def scrape(metrics: Metrics) -> dict[str, Metric]:
    text = exposition(metrics, lambda: GAUGES, 'worker "1"\n', "0.1.0")().decode()
    families = list(text_string_to_metric_families(text))
    names = [
        f"{family.name}_total" if family.type == "counter" else family.name for family in families
    ]
    assert len(names) == len(set(names))
    return dict(zip(names, families, strict=True))


def value(metrics: Metrics, family: str, sample: str, **labels: str) -> float:
    (found,) = [
        s.value
        for s in scrape(metrics)[family].samples
        if s.name == sample and labels.items() <= s.labels.items()
    ]
    return found


def end(status: Status = Status.COMPLETED, **changes: Any) -> Announce:
    failure = None
    if status is not Status.COMPLETED:
        failure = Failure(cause=changes.pop("cause", Cause.EXCEPTION), message="boom")
    waited_s, ran_s = changes.pop("waited_s", 0.2), changes.pop("ran_s", 2.0)
    return Announce(make_task(**changes), status, failure, waited_s, ran_s)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.ended(end())
    metrics.ended(end(ran_s=4.0))
    metrics.ended(end(Status.FAILED, cause=Cause.TIMEOUT, priority=Priority.LOW))
    metrics.ended(end(Status.CANCELLED, waited_s=None, ran_s=None))
    metrics.refusals[Refusal.QUEUE_FULL] += 5
    metrics.commit_seconds.observe(0.004)
    return metrics


def test_every_promised_name_is_there_with_its_labels(metrics: Metrics) -> None:
    families = scrape(metrics)
    assert families.keys() == PROMISED.keys()
    for name, (kind, labels) in PROMISED.items():
        assert families[name].type == kind, name
        assert families[name].documentation, name
        for sample in families[name].samples:
            assert sample.labels.keys() - {"le"} == labels, name


def test_a_worker_that_has_done_nothing_yet_can_be_scraped() -> None:
    families = scrape(Metrics())
    assert families.keys() == PROMISED.keys()
    causes = {s.labels["cause"] for s in families["tasks_failed_total"].samples}
    assert causes == {cause.value for cause in Cause}, "a rate needs the zero before the one"


def test_what_ended_is_counted(metrics: Metrics) -> None:
    assert value(metrics, "tasks_completed_total", "tasks_completed_total") == 2
    assert value(metrics, "tasks_cancelled_total", "tasks_cancelled_total") == 1
    assert value(metrics, "tasks_failed_total", "tasks_failed_total", cause="timeout") == 1
    assert value(metrics, "tasks_failed_total", "tasks_failed_total", cause="exception") == 0
    rejected = "submissions_rejected_total"
    assert value(metrics, rejected, rejected, reason="queue_full") == 5


def test_durations_and_waits_are_of_those_that_ran(metrics: Metrics) -> None:
    family = "task_duration_seconds"
    assert value(metrics, family, f"{family}_count", function="work") == 3
    assert value(metrics, family, f"{family}_sum", function="work") == 8.0
    assert value(metrics, "task_wait_seconds", "task_wait_seconds_count", priority="low") == 1
    assert metrics.average_execution_time_s == pytest.approx(8.0 / 3)


def test_the_mean_before_the_first_end_is_nought() -> None:
    assert Metrics().average_execution_time_s == 0.0


def test_buckets_count_what_is_at_most_as_large_as_their_bound() -> None:
    distribution = Distribution()
    for seconds in (0.0005, 0.001, 0.0011, 7.0, 1e6):
        distribution.observe(seconds)
    buckets = dict(distribution.cumulative())
    assert (buckets["0.001"], buckets["0.005"], buckets["10"]) == (2, 3, 4)
    assert buckets["3600"] == 4
    assert buckets["+Inf"] == 5
    counts = [count for _, count in distribution.cumulative()]
    assert counts == sorted(counts)


def test_gauges_say_how_things_stand_now(metrics: Metrics) -> None:
    assert value(metrics, "active_tasks", "active_tasks") == 3
    assert value(metrics, "queue_size", "queue_size", priority="low") == 2
    assert value(metrics, "admission_blocked", "admission_blocked", reason="cpu") == 1
    assert value(metrics, "worker_info", "worker_info", worker_id='worker "1"\n') == 1


def test_a_thousand_strings_of_clients_add_no_series() -> None:
    metrics = Metrics()
    metrics.ended(end())
    metrics.ended(end(Status.FAILED))

    def series() -> int:
        return sum(len(family.samples) for family in scrape(metrics).values())

    before = series()
    for number in range(1000):
        words = f"client {number}"
        metrics.ended(
            end(
                Status.FAILED if number % 2 else Status.COMPLETED,
                task_id=words,
                tags=(words,),
                metadata=words.encode(),
                payload=words.encode(),
            )
        )
    assert series() == before
