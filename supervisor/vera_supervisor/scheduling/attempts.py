"""What executors say, and what their silence means: of attempts, and of themselves. Pure."""

from collections import Counter
from random import Random
from typing import Final

from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.certificates import crashed, start_not_stored, with_use
from vera_supervisor.scheduling.effects import Effect, Report, StartAttempt
from vera_supervisor.scheduling.live_task import LiveTask
from vera_supervisor.scheduling.lives import Lives
from vera_supervisor.scheduling.policy import Policy
from vera_supervisor.scheduling.slot import Slot, SlotState
from vera_worker.lifecycle import COMPLETE
from vera_worker.tasks import Cause

#: A write that the store refused is tried again after this.
SAVE_AGAIN_S: Final = 1.0
_MIB: Final = 1024 * 1024
#: What an executor can be lost to: its own death, and what it is killed for.
LOSSES: Final = (
    Cause.CRASHED,
    Cause.TIMEOUT,
    Cause.MEMORY,
    Cause.CANCELLED,
    Cause.INTERRUPTED,
)


class Attempts(Lives):
    """What executors do to lives."""

    def __init__(self, policy: Policy, rng: Random) -> None:
        super().__init__(policy, rng)
        #: Answers of attempts that had been given up; they change nothing.
        self.late_answers = 0
        #: Executors that are gone without having been told to leave, by what ended them.
        self.losses: Counter[Cause] = Counter()

    # What executors say.

    def _executor_ready(self, event: ev.ExecutorReady, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is not None and slot.state is SlotState.STARTING:
            pool = self.pools.by_name[slot.pool]
            pool.roster.rest(slot, now)
            pool.line.unused_came()
        return []

    def _executor_answered(self, event: ev.ExecutorAnswered, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None:
            return []
        roster = self.pools.roster_of(slot)
        if event.unfit is not None and slot.state is SlotState.CHECKING:
            return [roster.retire(slot, now)]
        roster.answered(slot, now)
        return []

    def _attempt_reported(self, event: ev.AttemptReported, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is not None and slot.runs(event.task_id, event.attempt):
            live = self.live[event.task_id]
            live.progress = event.progress
            return [Report(live.task, live.attempt, event.progress)]
        return []

    def _memory_exceeded(self, event: ev.MemoryExceeded, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None or not slot.runs(event.task_id, event.attempt):
            return []
        self.live[event.task_id].peak_memory_mb = round(event.used_bytes / _MIB, 1)
        return slot.end_now(Cause.MEMORY, now)

    def _attempt_ended(self, event: ev.AttemptEnded, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None or not slot.runs(event.task_id, event.attempt):
            self.late_answers += 1
            return []
        live, why = self.live[event.task_id], slot.why
        assert live.started_at is not None, live
        live.ran_s = now - live.started_at
        if event.used is not None:
            self.waiting.habits.note(live.task.function, event.used, live.ran_s)
        effects: list[Effect] = []
        alone = live.task.function in self.policy.alone
        roster = self.pools.roster_of(slot)
        if event.unfit is None and not alone and roster.keeps(slot):
            roster.rest(slot, now)
        else:
            effects.append(roster.retire(slot, now))
        if why is not None:
            failure = with_use(self._stopped(live, why, event.failure, now), event.used)
        elif event.failure is not None:
            failure = event.failure
        else:
            effects.append(self._finish(live, COMPLETE, event.result, None, event.output))
            return effects
        return effects + self._end_badly(live, failure, event.output, now)

    def _executor_lost(self, event: ev.ExecutorLost, now: float) -> list[Effect]:
        slot = self.slots.get(event.slot_id)
        if slot is None:
            return []
        if slot.state is not SlotState.RETIRING:
            self.losses[slot.why or Cause.CRASHED] += 1
        self.pools.roster_of(slot).lost(slot, now)
        live = self.live.get(slot.task_id) if slot.task_id is not None else None
        if live is None or live.slot_id != slot.slot_id:
            return []
        assert live.started_at is not None, live
        live.ran_s = now - live.started_at
        if event.excess_bytes is not None and slot.why is None:
            slot.why = Cause.MEMORY
            live.peak_memory_mb = round(event.excess_bytes / _MIB, 1)
        if event.used is not None:
            self.waiting.habits.note(live.task.function, event.used, live.ran_s)
        lost = crashed(event, live.ran_s)
        failure = lost if slot.why is None else self._stopped(live, slot.why, lost, now)
        return self._end_badly(live, failure, event.output, now)

    # Starts that have to be on disk before their tasks are sent off.

    def _start_stored(self, effect: StartAttempt, now: float) -> list[Effect]:
        """A task whose start had to be on disk first is sent off."""
        live = self._awaiting(effect)
        if live is None:
            return []
        slot = self._slot_of(live)
        if slot.state is SlotState.BUSY:
            return [self._assign(slot, live)]
        return self._not_sent(live, slot, now)

    def _start_not_stored(self, effect: StartAttempt, reason: str, now: float) -> list[Effect]:
        live = self._awaiting(effect)
        if live is None:
            return []  # or it runs already, and its end will be stored
        slot = self._slot_of(live)
        if slot.state is not SlotState.BUSY:
            return self._not_sent(live, slot, now)
        freed = self.pools.roster_of(slot).release(slot, now)
        failure = start_not_stored(reason)
        return [*freed, self._try_again(live, failure, SAVE_AGAIN_S, b"", now)]

    def _awaiting(self, effect: StartAttempt) -> LiveTask | None:
        """Return the task that waits for just this start to be stored, if it still does."""
        if self._unsent.get(effect.task_id) is not effect:
            return None
        del self._unsent[effect.task_id]
        return self.live[effect.task_id]

    def _not_sent(self, live: LiveTask, slot: Slot, now: float) -> list[Effect]:
        """A task was to stop before it was sent off: its executor is free, unless it is killed."""
        if slot.state is not SlotState.STOPPING or slot.why is None:
            return []
        failure = self._stopped(live, slot.why, None, now)
        freed = self.pools.roster_of(slot).release(slot, now)
        return freed + self._end_badly(live, failure, b"", now)
