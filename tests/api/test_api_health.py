"""The one verdict on the worker."""

from typing import Any

import pytest
from msgspec import structs

from vera_supervisor.health import PoolSigns, Signs, State, assess

DEFAULT = PoolSigns(name="default", serving=1, min_workers=1, failed_starts=0)
GONE = structs.replace(DEFAULT, serving=0)
GPU = structs.replace(GONE, name="gpu")

WELL = Signs(
    draining=False,
    loop_lag_s=0.0,
    pools=(DEFAULT,),
    busy_executors=0,
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
        (
            {"pools": (structs.replace(DEFAULT, failed_starts=2),)},
            State.DEGRADED,
            "2 executors in a row",
        ),
        ({"pools": (GONE,)}, State.UNHEALTHY, "no executor is ready"),
        ({"pools": (structs.replace(GONE, min_workers=0),)}, State.HEALTHY, None),
        (
            {"pools": (structs.replace(GONE, min_workers=0, failed_starts=1),)},
            State.UNHEALTHY,
            "no executor is ready",
        ),
        ({"pools": (DEFAULT, GPU)}, State.DEGRADED, "no executor of the pool gpu is ready"),
        ({"pools": (GONE, GPU)}, State.UNHEALTHY, "no executor is ready"),
        (
            {"pools": (DEFAULT, structs.replace(GPU, serving=1, failed_starts=3))},
            State.DEGRADED,
            "3 executors in a row died in the pool gpu",
        ),
        ({"quiet_s": 41.0}, State.UNHEALTHY, "no executor has shown a sign of life"),
        ({"quiet_s": 41.0, "busy_executors": 1}, State.HEALTHY, None),
        ({"held_back": "CPU use is 99 %"}, State.DEGRADED, "CPU use is 99 %"),
        ({"loop_lag_s": 1.5}, State.UNHEALTHY, "the event loop is 1.5 s late"),
        ({"store_silent_s": 5.1}, State.UNHEALTHY, "the store has not answered for 5 s"),
        ({"draining": True}, State.DRAINING, "the worker is draining"),
        ({"draining": True, "pools": (GONE,)}, State.DRAINING, "the worker is draining"),
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


def test_at_a_standstill_it_works_and_no_task_would_start() -> None:
    verdict = assess(structs.replace(WELL, held_back="CPU use is 99 %", standstill=True))
    assert (verdict.state, verdict.works, verdict.ready) == (State.DEGRADED, True, False)
    assert assess(structs.replace(WELL, held_back="CPU use is 99 %")).ready


@pytest.mark.parametrize(
    ("failed_starts", "replaced", "state"),
    [(0, True, State.HEALTHY), (0, False, State.UNHEALTHY), (3, True, State.UNHEALTHY)],
)
def test_executors_on_their_way_in_place_of_others_are_as_good_as_there(
    failed_starts: int, replaced: bool, state: State
) -> None:
    pool = PoolSigns(
        name="default", serving=0, min_workers=1, failed_starts=failed_starts, replaced=replaced
    )
    assert assess(structs.replace(WELL, pools=(pool,))).state is state


def test_tasks_of_functions_that_are_gone_are_a_reason() -> None:
    """U4: whoever looks at the worker's health is told."""
    health = assess(structs.replace(WELL, unknown_functions={"resize": 3}))
    assert health.state is State.DEGRADED
    assert health.reasons == ["3 tasks wait for the function 'resize', which no task module offers"]
