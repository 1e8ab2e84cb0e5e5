"""What holds in the simulated world after every single step of the scheduler."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from vera_supervisor.scheduling.line import Group
from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.slot import SlotState
from vera_worker.lifecycle import TERMINAL, Status
from vera_worker.tasks import RANK

if TYPE_CHECKING:
    from tests.scheduling.simulated_world import World

#: Sums of fractions may be off by so much.
ROUNDING: Final = 1e-6


class Invariants:
    """Checks the scheduler of a world against the world's own books."""

    def __init__(self, world: "World") -> None:
        self._world = world
        #: What was taken of each resource after the last step.
        self._reserved: dict[str, float] = {}
        #: How many attempts ran after it, by the functions for which that is limited.
        self._attempts_running: Counter[str] = Counter()

    def check(self, waiting: dict[str, tuple[float, int]], started: list[str]) -> None:
        """Check all of it; `waiting` is what was in the queue before, by key and rank."""
        self._check_order(waiting, started)
        self._check_counts()
        self._check_places()
        self._check_slots()

    def _check_order(self, waiting: dict[str, tuple[float, int]], started: list[str]) -> None:
        world, scheduler = self._world, self._world.scheduler

        def order(key: float, rank: int) -> tuple[float, float]:
            return (rank, key) if world.policy.aging_step_s == 0 else (key, rank)

        lives, alone = scheduler.live, world.policy.alone
        still = [t for t in waiting if t in lives and lives[t].key == waiting[t][0]]
        for task_id in started:
            live = lives[task_id]
            mine = order(live.place, RANK[live.task.priority])
            for other in still:
                function = lives[other].task.function
                if world.pool_of(lives[other].task) != world.pool_of(live.task):
                    continue  # no pool waits for another one
                if function in world.policy.max_concurrency or not world.is_offered(function):
                    continue
                if lives[other].need and not live.need:
                    continue  # it may not fit; among those that reserve, nobody goes past another
                if function in alone and live.task.function not in alone:
                    continue  # it waits for an executor of its own
                theirs, ours = lives[other].task, live.task
                of_a_kind = (theirs.client, theirs.priority) == (ours.client, ours.priority)
                if theirs.client is not None and not of_a_kind:
                    continue  # clients take turns, in each class
                if lives[other].need and live.task.function in alone:
                    continue
                assert mine < order(*waiting[other]), f"{task_id} started, {other} was ahead"

    def _check_counts(self) -> None:
        world, scheduler = self._world, self._world.scheduler
        lives = scheduler.live.values()
        assert scheduler.running == sum(live.status is Status.RUNNING for live in lives)
        assert scheduler.queued == sum(live.status is Status.QUEUED for live in lives)
        assert scheduler.late_answers == world.late
        running = Counter(live.task.function for live in lives if live.status is Status.RUNNING)
        before, self._attempts_running = self._attempts_running, running
        for function, most in world.policy.max_concurrency.items():
            assert running[function] <= max(most, before[function]), "more attempts than may be"
            group = Group(function, reserves=False, choosy=False)
            line = scheduler.waiting.line_of(function)
            closed, known = line.queue.is_closed(group), group in line.groups
            held = running[function] >= most or not world.is_offered(function)
            assert closed == (known and held), "held back exactly at its limit"
        self._check_reservations(lives)
        for pool in scheduler.pools:
            queued = [
                live
                for live in lives
                if live.key is not None and world.pool_of(live.task) == pool.name
            ]
            assert pool.queue.length == len(queued)
            waiting = [
                live
                for live in lives
                if live.status is Status.QUEUED and world.pool_of(live.task) == pool.name
            ]
            assert pool.queued == (len(waiting) if len(scheduler.pools.all) > 1 else 0)
            positions = sorted(filter(None, map(scheduler.position, queued)))
            assert positions == list(range(1, len(queued) + 1))

    def _check_reservations(self, lives: Iterable[LiveTask]) -> None:
        world, scheduler = self._world, self._world.scheduler
        books = scheduler.waiting.reservations
        needs = [live.need for live in lives if live.status is Status.RUNNING and live.need]
        most = world.capacity
        for name in ("cpu_cores", "memory_mb", "gpus"):
            taken = sum(getattr(need, name) or 0 for need in needs)
            assert abs(getattr(books, name) - taken) < ROUNDING, "the books are right"
            grown = taken > self._reserved.get(name, 0)  # else it only runs out what it has
            assert not grown or taken <= getattr(most, name) + ROUNDING, "no more than there is"
            self._reserved[name] = taken

    def _check_places(self) -> None:
        world, scheduler = self._world, self._world.scheduler
        slots = Counter(slot.task_id for slot in scheduler.slots)
        for task_id, live in scheduler.live.items():
            places = [
                not live.added,
                live.key is not None,
                live.delayed_until is not None,
                live.slot_id is not None,
                live.added and task_id in scheduler.waiting.dependencies,
                task_id in scheduler.waiting.oversized,
                task_id in scheduler.waiting.parked,
                live.status in TERMINAL,
            ]
            if scheduler.recovering:
                continue  # some are still to be put into the queue
            assert sum(places) == 1, (task_id, places)
            assert (live.slot_id is not None) == (live.status is Status.RUNNING)
            assert slots[task_id] == (live.slot_id is not None), (task_id, slots)
            assert not live.added or task_id in world.accepted
            if live.delayed_until is not None:
                assert scheduler.alarm.at <= live.delayed_until

    def _check_slots(self) -> None:
        world, scheduler = self._world, self._world.scheduler
        for pool in scheduler.pools:
            idle = [slot for slot in pool.roster if slot.state is SlotState.IDLE]
            assert sorted(s.slot_id for s in idle) == sorted(s.slot_id for s in pool.roster.idle)
            if not scheduler.draining:
                ready = pool.queue.ready and not scheduler.recovering
                assert not (idle and ready), "no one waits for an idle executor"
        assert set(scheduler.slots) == {s for p in scheduler.pools for s in p.roster}
        for slot in scheduler.slots:
            assert slot.pool == world.executors[slot.slot_id].pool
            executor = world.executors[slot.slot_id]
            assert executor.killed == (slot.state is SlotState.KILLING)
