"""A seed and the same events give the same run, to the last effect."""

from random import Random

import pytest

from tests.fakes.makers import make_task
from tests.scheduling.simulated_world import World
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.scheduling import events as ev
from vera_worker.tasks import Cause, Failure, Priority


def run(seed: int, *, scheduler_seed: int = 1, steps: int = 400) -> list[fx.Effect]:
    """Return all effects of a wild run that the seed decides."""
    rng, world = Random(seed), World(scheduler_seed, max_workers=3)
    world.tell(ev.TimePassed())
    for number in range(steps):
        executors = list(world.executors.values())
        match rng.randrange(6):
            case 0:
                task = make_task(
                    f"{number}", priority=rng.choice(list(Priority)), max_retries=2, timeout_s=3.0
                )
                world.tell(ev.Submitted(task))
            case 1 if world.writes:
                world.acknowledge()
            case 2 if executors:
                executor = rng.choice(executors)
                if not executor.ready and not executor.killed:
                    executor.ready = True
                    world.tell(ev.ExecutorReady(executor.slot_id))
                elif executor.task is not None:
                    failed = Failure(cause=Cause.EXCEPTION, message="boom")
                    world.answer(executor, rng.choice((None, failed)))
            case 3 if executors and rng.random() < 0.2:
                world.lose(rng.choice(executors))
            case _:
                world.pass_time(rng.choice((0.0, 0.1, 1.0)))
    return world.history


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_effects(seed: int) -> None:
    first = run(seed)
    assert len(first) > 100
    assert run(seed) == first


def test_the_jitter_of_retries_is_all_that_the_seed_of_the_scheduler_decides() -> None:
    def delays(scheduler_seed: int) -> list[float]:
        effects = run(0, scheduler_seed=scheduler_seed)
        return [effect.delay_s for effect in effects if isinstance(effect, fx.RequeueTask)]

    assert delays(1) == delays(1) != delays(2)
