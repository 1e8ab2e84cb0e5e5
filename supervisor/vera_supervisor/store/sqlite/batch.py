"""What many writes come to: at most one row a task, and an answer for each write.

Nothing here touches the database; what has ended, or was never there, is looked up by a function
that the writer gives. Until a commit succeeds nothing that is kept in memory changes.
"""

from collections.abc import Callable, Container, Mapping
from typing import Any, TypeAlias

import msgspec

from vera_supervisor.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.store.protocol import StoreFault, over, same_end
from vera_supervisor.store.sqlite.rows import (
    LARGE_BYTES,
    OUTPUT,
    PAYLOAD,
    RESULT,
    Entry,
    Row,
    State,
    changing_columns,
    fixed_columns,
    new_entry,
    state_bytes,
)
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record

Answer: TypeAlias = StoreFault | Record | None


class Write(msgspec.Struct, frozen=True, gc=False):
    """One thing that the store was told, and who hears how it went."""

    effect: AddTask | StartAttempt | RequeueTask | FinishTask
    #: Seconds since the epoch; of no use to a new task.
    at: float
    done: Callable[[Any], None]


class _Draft:
    """A task as it will be after this batch."""

    __slots__ = ("changing", "end", "entry", "fixed")

    def __init__(self, entry: Entry, fixed: Row | None) -> None:
        self.entry = entry
        #: Only where the task is new.
        self.fixed = fixed
        self.changing: Row | None = None
        self.end: FinishTask | None = None


class Batch:
    """Writes that go into one commit."""

    def __init__(
        self,
        live: Mapping[str, Entry],
        last_number: int,
        taken: Container[str],
        look_up: Callable[[str], Record | None],
    ) -> None:
        #: One for each write that was taken, in order.
        self.answers: list[Answer] = []
        self.last_number = last_number
        #: Ids of the tasks that are new.
        self.added: list[str] = []
        #: Large parts by number of the task and part; None: it goes.
        self.parts: dict[tuple[int, int], bytes | None] = {}
        #: Bytes of the tasks that end.
        self.ended_bytes = 0
        self._live = live
        self._taken = taken
        self._look_up = look_up
        self._drafts: dict[str, _Draft] = {}
        self._take: dict[type, Callable[[Any, float], Answer]] = {
            AddTask: self._add,
            StartAttempt: self._start,
            RequeueTask: self._requeue,
            FinishTask: self._finish,
        }

    def take(self, write: Write) -> bool:
        """Take a write in; False: it asks for what this batch has not committed yet."""
        effect = write.effect
        if type(effect) is AddTask and effect.task.task_id in self._drafts:
            return False
        self.answers.append(self._take[type(effect)](effect, write.at))
        return True

    def rows(self) -> tuple[list[Row], list[Row]]:
        """Return whole rows of the tasks that are new, and number and changes of the others."""
        new: list[Row] = []
        changed: list[Row] = []
        for draft in self._drafts.values():
            changing = draft.changing or changing_columns(draft.entry, None, None)
            if draft.fixed is None:
                changed.append((draft.entry.number, *changing))
            else:
                new.append(draft.fixed + changing)
        return new, changed

    def merge_into(self, live: dict[str, Entry]) -> None:
        """Bring what is kept in memory up to date, once the commit has succeeded."""
        for task_id, draft in self._drafts.items():
            if draft.end is None:
                live[task_id] = draft.entry
            else:
                live.pop(task_id, None)

    def _add(self, effect: AddTask, _: float) -> Answer:
        task = effect.task
        if task.task_id in self._live or task.task_id in self._taken:
            return self._look_up(task.task_id)
        self.last_number += 1
        fixed = fixed_columns(self.last_number, task)
        entry = new_entry(fixed, task)
        if entry.large:
            self.parts[entry.number, PAYLOAD] = task.payload
        self._drafts[task.task_id] = _Draft(entry, fixed)
        self.added.append(task.task_id)
        return None

    def _start(self, effect: StartAttempt, at: float) -> Answer:
        draft = self._draft(effect.task_id)
        if draft is None:
            return over(effect.task_id)
        old = draft.entry
        was = old.state
        state = State(effect.attempt, was.spent, was.ready_at, at, was.failure)
        draft.entry = Entry(
            old.number, old.seed, old.size, old.large, Status.RUNNING, state, old.output
        )
        return None

    def _requeue(self, effect: RequeueTask, at: float) -> Answer:
        draft = self._draft(effect.task_id)
        if draft is None:
            return over(effect.task_id)
        was = draft.entry.state
        ready_at = at + effect.delay_s if effect.delay_s else was.ready_at
        state = State(effect.attempt, effect.spent, ready_at, was.started_at, effect.failure)
        self._change(draft, Status.QUEUED, state, effect.output)
        return None

    def _finish(self, effect: FinishTask, at: float) -> Answer:
        draft = self._drafts.get(effect.task_id)
        if draft is not None and draft.end is not None:
            return None if same_end(draft.end, effect) else over(effect.task_id)
        draft = self._draft(effect.task_id)
        if draft is None:
            record = self._look_up(effect.task_id)
            return None if record is None or same_end(record, effect) else over(effect.task_id)
        was = draft.entry.state
        state = State(effect.attempt, was.spent, was.ready_at, was.started_at, effect.failure)
        self._change(draft, effect.status, state, effect.output)
        result = effect.result
        size = draft.entry.size + state_bytes(state) + len(effect.output)
        large = draft.entry.large
        if result is not None:
            size += len(result)
            if len(result) > LARGE_BYTES:
                large |= RESULT
                self.parts[draft.entry.number, RESULT] = result
                result = None
        old = draft.entry
        ended = Entry(old.number, old.seed, size, large, old.status, state, old.output)
        draft.end, draft.entry = effect, ended
        draft.changing = changing_columns(ended, at, result)
        self.ended_bytes += size
        return None

    def _draft(self, task_id: str) -> _Draft | None:
        """Return a task that has not ended, to be changed."""
        draft = self._drafts.get(task_id)
        if draft is None:
            entry = self._live.get(task_id)
            if entry is None:
                return None
            draft = self._drafts[task_id] = _Draft(entry, None)
        return None if draft.end is not None else draft

    def _change(self, draft: _Draft, status: Status, state: State, output: bytes) -> None:
        old = draft.entry
        large = old.large & ~OUTPUT
        kept: bytes | None = output or None
        if len(output) > LARGE_BYTES:
            large |= OUTPUT
            self.parts[old.number, OUTPUT] = output
            kept = None
        elif old.large & OUTPUT:
            self.parts[old.number, OUTPUT] = None
        draft.entry = Entry(old.number, old.seed, old.size, large, status, state, kept)
