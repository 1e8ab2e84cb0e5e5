"""Holds a history against what is promised of tasks (H1 to H10), and names every breach."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

import msgspec

from tests.history.history import Heard, History, Kept, Ran

#: Seconds that it may take from a submission to its place in the queue.
_TICK_S: Final = 2.0
_TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})


class Promises(msgspec.Struct, frozen=True, kw_only=True):
    """What this history's worker had promised."""

    #: Functions that are never started twice.
    at_most_once: frozenset[str]
    #: Attempts that a task may have, those that a crash cost included.
    max_attempts: int
    #: Executors at one time.
    max_running: int
    #: Seconds that one class of priority is worth.
    aging_step_s: float
    #: How often the supervisor was killed: a start that was not on disk then is not counted.
    kills: int


def breaches(history: History, promises: Promises) -> list[str]:
    """Return one sentence for each breach of a promise."""
    return [
        *_lost_and_phantoms(history),
        *_ends(history),
        *_runs(history, promises),
        *_results(history),
        *_order(history, promises),
        *_crowds(history, promises),
    ]


def _lost_and_phantoms(history: History) -> Iterator[str]:
    """What was accepted is there, once, and nothing else (H1, H2, H3); the rest may be (H10)."""
    kept = Counter(record.task_id for record in history.kept)
    asked = {said.task_id for said in history.said}
    for said in history.said:
        if said.heard is Heard.ACCEPTED and not kept[said.task_id]:
            yield f"{said.task_id} was accepted and is lost"
    for task_id, count in kept.items():
        if task_id not in asked:
            yield f"{task_id} was never submitted"
        if count > 1:
            yield f"{task_id} is kept {count} times"


def _ends(history: History) -> Iterator[str]:
    """Every task has ended, once: as every client who read its end was told (H4, H6)."""
    final = {record.task_id: record for record in history.kept}
    for record in history.kept:
        if record.status not in _TERMINAL:
            yield f"{record.task_id} never ended: {record.status}"
    for seen in history.seen:
        record = final.get(seen.task_id)
        if record is None:
            yield f"{seen.task_id} was seen ended and is gone"
        elif (seen.status, seen.result) != (record.status, record.result):
            yield f"{seen.task_id} had ended {seen.status} and now is {record.status}"


def _runs(history: History, promises: Promises) -> Iterator[str]:
    """No task ran more often than it may (H5, H7)."""
    functions = {said.task_id: said.function for said in history.said}
    starts: defaultdict[str, list[Ran]] = defaultdict(list)
    for ran in history.ran:
        if not ran.ended:
            starts[ran.task_id].append(ran)
    for task_id, runs in starts.items():
        if task_id not in functions:
            yield f"{task_id} ran and was never submitted"
        once = functions.get(task_id) in promises.at_most_once
        if once and len(runs) > 1:
            yield f"{task_id} was to run at most once and ran {len(runs)} times"
        if len(runs) > promises.max_attempts + promises.kills:
            yield f"{task_id} ran {len(runs)} times"
        if max(run.attempt for run in runs) > promises.max_attempts:
            yield f"{task_id} got to attempt {max(run.attempt for run in runs)}"


def _results(history: History) -> Iterator[str]:
    """What is kept as the result is what a run of the last attempt returned (H5, H6)."""
    ended = {(ran.task_id, ran.attempt, ran.token) for ran in history.ran if ran.ended}
    for record in history.kept:
        if record.status != "completed":
            continue
        if (record.task_id, record.attempt, _token(record)) not in ended:
            yield f"{record.task_id} has a result that no run of attempt {record.attempt} returned"


def _token(record: Kept) -> Any:
    return record.result["token"] if isinstance(record.result, dict) else None


def _order(history: History, promises: Promises) -> Iterator[str]:
    """No task started while one waited that was to start before it (H8).

    Only those that started once are looked at: of others the last start is all that is known.
    """
    runs = Counter(ran.task_id for ran in history.ran if not ran.ended)
    once = [k for k in history.kept if k.attempt == 1 and runs[k.task_id] <= 1 and k.started_at]
    arrivals = deque(sorted(once, key=attrgetter("queued_at")))
    waiting: dict[str, Kept] = {}
    for task in sorted(once, key=attrgetter("started_at")):
        while arrivals and arrivals[0].queued_at <= task.started_at:
            arrived = arrivals.popleft()
            waiting[arrived.task_id] = arrived
        waiting.pop(task.task_id, None)
        for other in waiting.values():
            if _goes_before(other, task, promises.aging_step_s):
                yield f"{task.task_id} started before {other.task_id}, which was ahead of it"


def _goes_before(other: Kept, task: Kept, aging_step_s: float) -> bool:
    """Return whether `other`, which waited when `task` started, was to start first."""
    if other.rank == task.rank:
        return other.order < task.order
    # When a task came into the queue is known only so well.
    ahead_s = task.queued_at - other.queued_at + (task.rank - other.rank) * aging_step_s
    assert task.started_at is not None
    return ahead_s > _TICK_S and task.started_at - other.queued_at > _TICK_S


def _crowds(history: History, promises: Promises) -> Iterator[str]:
    """No more tasks ran at once than there may be executors (H9); killed runs are left out."""
    by_token: defaultdict[str, list[Ran]] = defaultdict(list)
    for ran in history.ran:
        by_token[ran.token].append(ran)
    # Of equal moments the end comes first: the next task may start in the same tick.
    moments = sorted(
        (run.at, not run.ended, run.task_id)
        for runs in by_token.values()
        if len(runs) > 1
        for run in runs
    )
    running: set[str] = set()
    for _, begins, task_id in moments:
        if begins:
            running.add(task_id)
            if len(running) > promises.max_running:
                yield f"{len(running)} tasks ran at once: {sorted(running)}"
        else:
            running.discard(task_id)
