"""Many writes as one commit: at most one row per task, and an answer for each write.

Nothing here touches the database: tasks that have ended, or were never there, are looked up by a
function of the writer's. Until the commit succeeds, nothing that is kept in memory changes.
"""

from collections.abc import Callable, Container, Mapping
from copy import copy
from typing import Any, Final, TypeAlias

import msgspec

from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
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
    ended_columns,
    fixed_columns,
    new_entry,
)
from vera_worker.lifecycle import QUEUED, RUNNING
from vera_worker.tasks import Record

Answer: TypeAlias = StoreFault | Record | None

#: One commit takes no more once its large parts have so many bytes: the log must not grow without
#: bound, nor those wait too long who came first.
_LARGE_BYTES_AT_ONCE: Final = 16 << 20


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
        self._large_bytes = 0
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
        """Take a write in; False: it is for the next batch, once this one is committed."""
        effect = write.effect
        if self._large_bytes >= _LARGE_BYTES_AT_ONCE:
            return False
        if type(effect) is AddTask and effect.task.task_id in self._drafts:
            return False
        self.answers.append(self._take[type(effect)](effect, write.at))
        return True

    def rows(self) -> tuple[list[Row], list[Row]]:
        """Return whole rows of the tasks that are new, and number and changes of the others."""
        new: list[Row] = []
        changed: list[Row] = []
        for draft in self._drafts.values():
            changing = draft.changing or changing_columns(draft.entry)
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
            self._keep_apart(entry, PAYLOAD, task.payload)
        self._drafts[task.task_id] = _Draft(entry, fixed)
        self.added.append(task.task_id)
        return None

    def _start(self, effect: StartAttempt, at: float) -> Answer:
        entry = self._unended(effect.task_id)
        if entry is None:
            return over(effect.task_id)
        was = entry.state
        entry.status = RUNNING
        entry.state = State(effect.attempt, effect.spent, was.ready_at, at, was.failure)
        return None

    def _requeue(self, effect: RequeueTask, at: float) -> Answer:
        entry = self._unended(effect.task_id)
        if entry is None:
            return over(effect.task_id)
        was = entry.state
        ready_at = at + effect.delay_s if effect.delay_s else was.ready_at
        entry.status = QUEUED
        entry.state = State(effect.attempt, effect.spent, ready_at, was.started_at, effect.failure)
        self._keep_output(entry, effect.output)
        return None

    def _finish(self, effect: FinishTask, at: float) -> Answer:
        entry = self._unended(effect.task_id)
        if entry is None:
            known = self._ended(effect.task_id)
            return None if known is None or same_end(known, effect) else over(effect.task_id)
        was = entry.state
        entry.status = effect.status
        entry.state = State(effect.attempt, was.spent, was.ready_at, was.started_at, effect.failure)
        entry.size += len(effect.output)
        self._keep_output(entry, effect.output)
        draft = self._drafts[effect.task_id]
        draft.end = effect
        draft.changing = ended_columns(entry, at, effect.result)
        if entry.large & RESULT:
            self._keep_apart(entry, RESULT, effect.result or b"")
        self.ended_bytes += entry.size
        return None

    def _unended(self, task_id: str) -> Entry | None:
        """Return what is known of a task that has not ended, to be changed."""
        draft = self._drafts.get(task_id)
        if draft is not None:
            return draft.entry if draft.end is None else None
        known = self._live.get(task_id)
        if known is None:
            return None
        self._drafts[task_id] = draft = _Draft(copy(known), None)
        return draft.entry

    def _ended(self, task_id: str) -> FinishTask | Record | None:
        draft = self._drafts.get(task_id)
        return self._look_up(task_id) if draft is None else draft.end

    def _keep_output(self, entry: Entry, output: bytes) -> None:
        if len(output) > LARGE_BYTES:
            entry.large |= OUTPUT
            self._keep_apart(entry, OUTPUT, output)
            output = b""
        elif entry.large & OUTPUT:
            entry.large &= ~OUTPUT
            self.parts[entry.number, OUTPUT] = None
        entry.output = output or None

    def _keep_apart(self, entry: Entry, part: int, content: bytes) -> None:
        self.parts[entry.number, part] = content
        self._large_bytes += len(content)
