"""The store that lasts as long as the process: for tests, trials and work that may be lost."""

from collections import OrderedDict
from copy import copy
from itertools import islice

from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.store.protocol import Added, Done, Page, Query, over, same_end
from vera_worker.lifecycle import RUNNING, Status
from vera_worker.tasks import Record

#: What a record takes beside its payload, result and output; measured, rounded up.
_RECORD_BYTES = 1024


class MemoryStore:
    """Keeps records in dictionaries; every write is acknowledged before the call returns."""

    #: Memory does not fail.
    fault = None

    def __init__(self, *, result_ttl_s: float, max_bytes: int) -> None:
        self._result_ttl_s = result_ttl_s
        self._max_bytes = max_bytes
        self._records: dict[str, Record] = {}  # in order of acceptance
        self._accepted = 0
        self._ended: OrderedDict[str, int] = OrderedDict()  # id -> bytes, in order of ending
        self._ended_bytes = 0

    def add(self, effect: AddTask, done: Added) -> None:
        """Keep a new task, unless there is one of its id."""
        task = effect.task
        known = self._records.get(task.task_id)
        if known is None:
            self._accepted += 1
            self._records[task.task_id] = Record(task=task, number=self._accepted)
        done(known and copy(known))

    def start(self, effect: StartAttempt, at: float, done: Done) -> None:
        """Note that an attempt begins."""
        record = self._records.get(effect.task_id)
        if record is None or record.ended:
            done(over(effect.task_id))
            return
        record.status = RUNNING
        record.attempt = effect.attempt
        record.spent = effect.spent
        record.started_at = at
        done(None)

    def requeue(self, effect: RequeueTask, at: float, done: Done) -> None:
        """Note that an attempt ended and the task waits for another one."""
        record = self._records.get(effect.task_id)
        if record is None or record.ended:
            done(over(effect.task_id))
            return
        record.status = Status.QUEUED
        record.attempt = effect.attempt
        record.spent = effect.spent
        if effect.delay_s:
            record.ready_at = at + effect.delay_s
        record.failure = effect.failure
        record.output = effect.output
        done(None)

    def finish(self, effect: FinishTask, at: float, done: Done) -> None:
        """Note how a task ended; another end is a fault."""
        record = self._records.get(effect.task_id)
        if record is None or record.ended:
            done(None if record is None or same_end(record, effect) else over(effect.task_id))
            return
        record.status = effect.status
        record.attempt = effect.attempt
        record.completed_at = at
        record.result = effect.result
        record.failure = effect.failure
        record.output = effect.output
        self._keep_ended(record)
        done(None)

    async def get(self, task_id: str) -> Record | None:
        """Return the record of a task, or None."""
        record = self._records.get(task_id)
        return record and copy(record)

    async def page(self, query: Query) -> Page:
        """Return the records that a query asks for."""
        before = self._accepted + 1 if query.cursor is None else int(query.cursor)
        matching = (
            record
            for record in reversed(self._records.values())
            if record.number < before and _matches(record, query)
        )
        records = [copy(record) for record in islice(matching, query.limit + 1)]
        more = len(records) > query.limit
        del records[query.limit :]
        return Page(records, str(records[-1].number) if more else None)

    async def unended(self, after: int, limit: int) -> list[Record]:
        """Return the first tasks accepted after number `after` that have not ended."""
        following = (r for r in self._records.values() if r.number > after and not r.ended)
        return [copy(record) for record in islice(following, limit)]

    async def forget(self, query: Query) -> int:
        """Forget the ended tasks that match."""
        records = map(self._records.__getitem__, self._ended)
        matching = [record.task.task_id for record in records if _matches(record, query)]
        for task_id in matching:
            self._ended_bytes -= self._ended.pop(task_id)
            del self._records[task_id]
        return len(matching)

    async def prune(self, now: float) -> int:
        """Forget ended tasks that are too old."""
        forgotten = 0
        while self._ended:
            oldest = self._records[next(iter(self._ended))]
            assert oldest.completed_at is not None
            if oldest.completed_at + self._result_ttl_s > now:
                break
            self._forget_oldest()
            forgotten += 1
        return forgotten

    async def open(self) -> None:
        """Nothing to make ready."""

    async def close(self) -> None:
        """Nothing to let go."""

    def _keep_ended(self, record: Record) -> None:
        size = _RECORD_BYTES + len(record.task.payload) + len(record.output)
        size += len(record.result or b"")
        self._ended[record.task.task_id] = size
        self._ended_bytes += size
        while self._ended_bytes > self._max_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        task_id, size = self._ended.popitem(last=False)
        self._ended_bytes -= size
        del self._records[task_id]


def _matches(record: Record, query: Query) -> bool:
    return (
        (query.status is None or record.status is query.status)
        and (query.function is None or record.task.function == query.function)
        and (query.tag is None or query.tag in record.task.tags)
    )
