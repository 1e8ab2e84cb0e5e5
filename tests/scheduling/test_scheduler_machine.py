"""Whatever happens, in whatever order: every accepted task ends exactly once (D7)."""

import math
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fakes.makers import (
    ALONE,
    INFER,
    NEEDS,
    ONCE,
    TRAIN,
    gpu_pool,
    make_task,
    rounds,
)
from tests.scheduling.simulated_world import SimExecutor, World
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.roster import Size
from vera_worker.lifecycle import TERMINAL
from vera_worker.tasks import DEFAULT_POOL, Cause, Failure, OnDependencyFailure, Priority, Used

T = TypeVar("T")

#: All that there are, unless a reload has taken one away.
FUNCTIONS = frozenset({"work", "slow", ONCE, ALONE, INFER, TRAIN})

#: Which of those there are.
PICKS = st.integers(0, 1000)
#: Around all the limits in force: delays, timeouts, graces, patience with the store.
PAUSES = st.sampled_from((0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 30.0, 100.0))
#: What attempts used: little, much memory, much CPU for the time that they took.
USED = (Used(0.0, 2**20), Used(0.0, 2**31), Used(1e6, 2**20))
FAILURES = st.sampled_from(
    (None, None, Cause.EXCEPTION, Cause.EXCEPTION, Cause.MEMORY, Cause.UNSERIALISABLE_RESULT)
)


class SchedulerMachine(RuleBasedStateMachine):
    """Lets anything happen to a scheduler; the world checks it after every step."""

    world: World
    #: All submissions of new ids so far.
    sent: list[ev.Submitted]

    @initialize(
        seed=st.integers(0, 100),
        min_workers=st.integers(0, 1),
        max_workers=st.integers(1, 3),
        queue_size=st.sampled_from((3, 100)),
        aging_step_s=st.sampled_from((0.0, 2.0, 60.0)),
        crash_retries=st.integers(0, 2),
        kill_grace_s=st.sampled_from((0.0, 0.1, 3.0)),
        idle_timeout_s=st.sampled_from((0.0, 4.0, 1e6)),
        check_interval_s=st.sampled_from((2.0, 1e6)),
        max_tasks=st.sampled_from((0, 2)),
        growth_delay_s=st.sampled_from((0.0, 0.05, 2.0)),
        gpus=st.sampled_from((None, 1, 2)),
    )
    def begin(self, *, seed: int, gpus: int | None, **policy: float) -> None:
        pools = {} if gpus is None else gpu_pool(max_workers=gpus, idle_timeout_s=4.0, queue_size=4)
        concurrency = {"slow": 1, TRAIN: 1}
        self.world = World(
            seed, start_timeout_s=20.0, max_concurrency=concurrency, **policy, **pools
        )
        self.sent = []
        self.world.tell(ev.TimePassed())

    # Clients.

    @rule(
        tasks=st.integers(1, 3),
        task=st.fixed_dictionaries(
            {
                "function": st.sampled_from(
                    ("work", "work", "slow", ONCE, ALONE, INFER, INFER, TRAIN)
                ),
                "priority": st.sampled_from(list(Priority)),
                "timeout_s": st.sampled_from((0.0, 2.0, 20.0)),
                "max_retries": st.integers(0, 2),
                "retry_delay_s": st.sampled_from((0.0, 0.5, 3.0)),
                "requirements": st.sampled_from((None, None, *NEEDS)),
                "client": st.sampled_from((None, None, "a", "b", "c")),
            }
        ),
        delay_s=st.sampled_from((0.0, 0.0, 0.0, 1.0, 20.0)),
        expires_in_s=st.sampled_from((None, None, 0.0, 2.0)),
        others=st.lists(PICKS, max_size=2),
        if_one_fails=st.sampled_from(OnDependencyFailure),
    )
    def submit(  # noqa: PLR0917 - as many as there are strategies
        self,
        tasks: int,
        task: dict[str, Any],
        delay_s: float,
        expires_in_s: float | None,
        others: list[int],
        if_one_fails: OnDependencyFailure,
    ) -> None:
        world = self.world
        wall = world.now + world.wall_offset
        task |= {
            "queued_at": wall,
            "run_at": wall + delay_s if delay_s else None,
            "expires_at": None if expires_in_s is None else wall + expires_in_s,
            "on_dependency_failure": if_one_fails,
        }
        for _ in range(tasks):
            known = list({**world.records, **world.scheduler.live})
            ids = tuple({chosen(known, pick): None for pick in others}) if known else ()
            new = make_task(f"t{len(self.sent)}", digest=b"one", depends_on=ids, **task)
            self.sent.append(ev.Submitted(new, delay_s, expires_in_s, world.ended(new)))
            self.world.tell(self.sent[-1])

    @rule(cores=st.sampled_from((1.0, 2.0, 4.0)), memory_mb=st.sampled_from((100.0, 1000.0)))
    def change_the_machine(self, cores: float, memory_mb: float) -> None:
        self.world.resize(cpu_cores=cores, memory_mb=memory_mb, gpus=1)

    @precondition(lambda self: self.sent)
    @rule(pick=PICKS, changed=st.booleans())
    def submit_again(self, pick: int, changed: bool) -> None:
        event = chosen(self.sent, pick)
        event = msgspec.structs.replace(event, ended=self.world.ended(event.task))
        if changed:
            task = msgspec.structs.replace(event.task, digest=b"two")
            event = msgspec.structs.replace(event, task=task)
        self.world.tell(event)

    @precondition(lambda self: self.sent)
    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        self.world.tell(ev.CancelAsked(chosen(self.sent, pick).task.task_id))

    # The store.

    @precondition(lambda self: self.world.writes)
    @rule(writes=st.integers(1, 9))
    def acknowledge(self, writes: int) -> None:
        for _ in range(writes):
            if self.world.writes:
                self.world.acknowledge()

    @precondition(lambda self: self.world.writes)
    @rule(although_done=st.booleans())
    def fail(self, although_done: bool) -> None:
        self.world.fail(although_done=although_done)

    # Executors.

    @precondition(lambda self: self.starting())
    @rule(pick=PICKS)
    def get_ready(self, pick: int) -> None:
        executor = chosen(self.starting(), pick)
        executor.ready = True
        self.world.tell(ev.ExecutorReady(executor.slot_id))

    @precondition(lambda self: self.busy())
    @rule(
        pick=PICKS,
        cause=FAILURES,
        unfit=st.sampled_from((None, None, None, "too large")),
        used=st.sampled_from((None, None, None, *USED)),
    )
    def answer(
        self, pick: int, cause: Cause | None, unfit: str | None, used: Used | None = None
    ) -> None:
        failure = None if cause is None else Failure(cause=cause, message="boom")
        self.world.answer(chosen(self.busy(), pick), failure, unfit, used)

    @precondition(lambda self: self.world.answers_given)
    @rule(pick=PICKS)
    def answer_again(self, pick: int) -> None:
        self.world.answer_again(chosen(self.world.answers_given[-4:], pick))

    @precondition(lambda self: self.world.executors)
    @rule(pick=PICKS, unasked=st.sampled_from((False, False, True)))
    def die(self, pick: int, unasked: bool) -> None:
        dying = list(self.world.executors.values()) if unasked else self.leaving()
        if dying:
            self.world.lose(chosen(dying, pick))

    @precondition(lambda self: self.asked())
    @rule(pick=PICKS)
    def give_a_sign(self, pick: int) -> None:
        executor = chosen(self.asked(), pick)
        executor.asked_for_a_sign = False
        self.world.tell(ev.ExecutorAnswered(executor.slot_id))

    # The worker.

    @rule(seconds=PAUSES)
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(what=st.sampled_from((ev.DrainAsked(), ev.InterruptAsked())), seconds=PAUSES)
    def drain(self, what: ev.Event, seconds: float) -> None:
        self.world.tell(what)
        if seconds:  # at times it stays so for longer
            self.world.pass_time(min(seconds, 0.25))
            self.world.tell(ev.ResumeAsked())

    @precondition(lambda self: self.world.scheduler.draining)
    @rule()
    def resume(self) -> None:
        self.world.tell(ev.ResumeAsked())

    @rule(downtime_s=PAUSES, wall_jump_s=st.sampled_from((0.0, 0.0, -60.0, 60.0)))
    def crash(self, downtime_s: float, wall_jump_s: float) -> None:
        self.world.crash(downtime_s, wall_jump_s)

    @rule(times=st.integers(1, 8))
    def go_on(self, times: int) -> None:
        """Let good things happen: a world where nothing works is soon at a standstill."""
        for _ in range(times):
            self.next_good_thing()

    @rule(
        gone=st.sampled_from(((), (), ("work",), ("slow", ONCE), (INFER,))),
        most=st.sampled_from(({"slow": 1, TRAIN: 1}, {"work": 2}, {"slow": 3, INFER: 1})),
    )
    def reload(self, gone: tuple[str, ...], most: dict[str, int]) -> None:
        self.world.reload(functions=FUNCTIONS.difference(gone), max_concurrency=most)

    @rule(max_workers=st.integers(1, 3))
    def resize(self, max_workers: int) -> None:
        size = self.world.policy.pools[DEFAULT_POOL].size
        self.world.scheduler.pools.default.roster.size = Size(
            min_workers=min(size.min_workers, max_workers),
            max_workers=max_workers,
            idle_timeout_s=size.idle_timeout_s,
            growth_delay_s=size.growth_delay_s,
        )
        self.world.tell(ev.TimePassed())

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.tell(ev.ResumeAsked())
        world.reload(functions=FUNCTIONS)
        world.resize(cpu_cores=2.0, memory_mb=700.0, gpus=1)
        for _ in range(2000):
            if not (world.scheduler.live or world.writes):
                break
            self.next_good_thing()
        assert world.scheduler.live == {}, "nothing is left over"
        assert world.scheduler.running == world.scheduler.queued == 0
        assert world.announced.keys() <= world.accepted
        assert set(world.announced.values()) <= {1}, "every accepted task ends exactly once"
        if not world.crashes:  # else it may have ended without anyone being told
            assert world.announced.keys() == world.accepted
        for task_id in world.accepted:
            assert world.records[task_id].status in TERMINAL
            assert world.records[task_id].status is world.ends[task_id].status

    def next_good_thing(self) -> None:
        if self.world.writes:
            self.world.acknowledge()
        elif self.leaving():
            self.world.lose(self.leaving()[0])
        elif self.starting():
            self.get_ready(0)
        elif self.asked():
            self.give_a_sign(0)
        elif self.busy():
            self.answer(0, None, None)
        elif (due := self.world.scheduler.alarm.at) < math.inf:
            self.world.pass_time(max(0.0, due - self.world.now))

    def starting(self) -> list[SimExecutor]:
        return [e for e in self.world.executors.values() if not e.ready and not e.killed]

    def busy(self) -> list[SimExecutor]:
        return [e for e in self.world.executors.values() if e.task is not None]

    def leaving(self) -> list[SimExecutor]:
        return [e for e in self.world.executors.values() if e.killed or e.asked_to_leave]

    def asked(self) -> list[SimExecutor]:
        return [e for e in self.world.executors.values() if e.asked_for_a_sign and not e.killed]


def chosen(items: list[T], pick: int) -> T:
    """Return the one that a number of any size stands for."""
    return items[pick % len(items)]


@pytest.mark.torture
def test_whatever_happens_every_accepted_task_ends_exactly_once() -> None:
    run_state_machine_as_test(SchedulerMachine, settings=rounds(100, steps=50))
