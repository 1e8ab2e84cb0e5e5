"""The one verdict on the worker."""

from typing import Any

import pytest

from vera_supervisor.health import Signs, State, assess

WELL = Signs(
    draining=False,
    loop_lag_s=0.0,
    serving_executors=1,
    busy_executors=0,
    min_executors=1,
    failed_starts=0,
    quiet_s=5.0,
    check_interval_s=30.0,
    queue_full=False,
    store_fault=None,
)


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({}, State.HEALTHY, None),
        ({"queue_full": True}, State.DEGRADED, "the queue is full"),
        ({"store_fault": "the store cannot write"}, State.UNHEALTHY, "the store cannot write"),
        ({"failed_starts": 2}, State.DEGRADED, "2 executors in a row"),
        ({"serving_executors": 0}, State.UNHEALTHY, "no executor is ready"),
        ({"serving_executors": 0, "min_executors": 0}, State.HEALTHY, None),
        (
            {"serving_executors": 0, "min_executors": 0, "failed_starts": 1},
            State.UNHEALTHY,
            "no executor is ready",
        ),
        ({"quiet_s": 41.0}, State.UNHEALTHY, "no executor has shown a sign of life"),
        ({"quiet_s": 41.0, "busy_executors": 1}, State.HEALTHY, None),
        ({"held_back": "CPU use is 99 %"}, State.DEGRADED, "CPU use is 99 %"),
        ({"loop_lag_s": 1.5}, State.UNHEALTHY, "the event loop is 1.5 s late"),
        ({"draining": True}, State.DRAINING, "the worker is draining"),
        ({"draining": True, "serving_executors": 0}, State.DRAINING, "the worker is draining"),
    ],
)
def test_the_verdict(changes: dict[str, Any], state: State, reason: str | None) -> None:
    signs = Signs(**{name: getattr(WELL, name) for name in WELL.__struct_fields__} | changes)
    verdict = assess(signs)
    assert verdict.state is state
    assert verdict.ready is (state in (State.HEALTHY, State.DEGRADED))
    if reason is None:
        assert verdict.reasons == []
    else:
        assert verdict.reasons[0].startswith(reason)
