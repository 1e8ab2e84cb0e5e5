"""The same world as in the state machine, in storms that are longer than what shrinks well."""

from collections.abc import Callable
from random import Random

import pytest

from tests.fakes.makers import INFER, ONCE, TORTURE, TRAIN
from tests.scheduling.test_scheduler_machine import SchedulerMachine
from vera_supervisor.scheduling import events as ev
from vera_worker.tasks import Cause, OnDependencyFailure, Priority

STEPS = 400


def storm(seed: int) -> SchedulerMachine:
    """Let happen, in an order that the seed decides, whatever can happen, then let it all end."""
    rng, machine = Random(seed), SchedulerMachine()
    machine.begin(
        seed=seed,
        min_workers=rng.randrange(2),
        max_workers=rng.randint(1, 3),
        queue_size=rng.choice((5, 100)),
        aging_step_s=rng.choice((0.0, 2.0, 60.0)),
        crash_retries=rng.randrange(3),
        kill_grace_s=rng.choice((0.0, 0.1, 3.0)),
        idle_timeout_s=rng.choice((0.0, 4.0, 1e6)),
        check_interval_s=rng.choice((2.0, 1e6)),
        growth_delay_s=rng.choice((0.0, 0.05, 2.0)),
        gpus=rng.choice((None, 1, 2)),
    )
    happenings = chances(machine, rng)
    names = list(happenings)
    weights = [happenings[name][0] for name in names]
    for name in rng.choices(names, weights, k=STEPS):
        happenings[name][1]()
    machine.teardown()
    return machine


def chances(machine: SchedulerMachine, rng: Random) -> dict[str, tuple[int, Callable[[], None]]]:
    """Return what can happen, each with how often it does."""
    world = machine.world

    def pick() -> int:
        return rng.randrange(1000)

    def submit() -> None:
        task = {
            "function": rng.choice(("work", "work", "work", ONCE, INFER, TRAIN)),
            "priority": rng.choice(list(Priority)),
            "timeout_s": rng.choice((0.0, 2.0, 20.0, 20.0)),
            "max_retries": rng.randrange(3),
            "retry_delay_s": rng.choice((0.0, 0.5, 3.0)),
        }
        delay_s = rng.choice((0.0, 0.0, 0.0, 1.0, 20.0))
        expires_in_s = rng.choice((None, None, None, 0.0, 2.0))
        others = [rng.randrange(1000)] if rng.random() < 0.2 else []
        if_one_fails = rng.choice(list(OnDependencyFailure))
        machine.submit(rng.randint(1, 3), task, delay_s, expires_in_s, others, if_one_fails)

    def answer() -> None:
        if machine.busy():
            cause = rng.choice((None, None, Cause.EXCEPTION, Cause.EXCEPTION, Cause.MEMORY))
            machine.answer(pick(), cause, rng.choice((None, None, None, "too large")))

    def drain() -> None:
        how = rng.choice((ev.DrainAsked(), ev.InterruptAsked()))
        machine.drain(how, rng.choice((0.0, 0.1, 0.25)))

    return {
        "submit": (8, submit),
        "submit again": (
            3,
            lambda: machine.submit_again(pick(), rng.random() < 0.5) if machine.sent else None,
        ),
        "cancel": (3, lambda: machine.cancel(pick()) if machine.sent else None),
        "acknowledge": (12, lambda: machine.acknowledge(rng.randint(1, 9))),
        "fail": (2, lambda: machine.fail(rng.random() < 0.5) if world.writes else None),
        "get ready": (8, lambda: machine.get_ready(pick()) if machine.starting() else None),
        "answer": (10, answer),
        "answer again": (
            2,
            lambda: machine.answer_again(pick()) if world.answers_given else None,
        ),
        "die": (3, lambda: machine.die(pick(), rng.random() < 0.4) if world.executors else None),
        "give a sign": (3, lambda: machine.give_a_sign(pick()) if machine.asked() else None),
        "pass time": (8, lambda: machine.pass_time(rng.choice((0.0, 0.1, 0.5, 1.0, 3.0, 10.0)))),
        "drain": (1, drain),
        "resume": (2, machine.resume),
        "resize": (1, lambda: machine.resize(rng.randint(1, 3))),
        "go on": (3, lambda: machine.go_on(rng.randint(1, 8))),
    }


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(1000 if TORTURE else 24))
def test_whatever_happens_every_accepted_task_ends_exactly_once(seed: int) -> None:
    assert storm(seed).world.announced


def test_a_storm_is_the_same_each_time() -> None:
    assert storm(5).world.history == storm(5).world.history
