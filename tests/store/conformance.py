"""What every store promises. A test module subclasses this and says how to make its store.

A store may take its time to acknowledge; `Writer.settled` waits for that, whatever it takes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import make_task, rounds
from vera_supervisor.scheduling.effects import AddTask, FinishTask, RequeueTask, StartAttempt
from vera_supervisor.store.protocol import Query, Store, StoreFault
from vera_worker.lifecycle import TERMINAL, Status
from vera_worker.tasks import (
    Cause,
    Failure,
    OnDependencyFailure,
    Priority,
    Record,
    Requirements,
    Spent,
    Task,
)

T = TypeVar("T")

TTL_S: Final = 100.0
#: Room for a few ended tasks that hold KILOBYTE each, not for many.
MAX_BYTES: Final = 64 * 1024
KILOBYTE: Final = b"x" * 1024
#: No store takes so long, unless it is broken.
PATIENCE_S: Final = 60.0
NOW: Final = 1.0e9
BOOM: Final = Failure(
    cause=Cause.EXCEPTION,
    message="boom ☃",
    type="ValueError",
    traceback="Traceback …",
    duration_s=1.5,
    output_tail="said\n",
)

SPENT: Final = Spent(retries=1)
NOTHING_SPENT: Final = Spent()

#: Makes an empty store that keeps ended tasks for TTL_S and MAX_BYTES, and clears it away.
StoreMaker = Callable[[], AbstractAsyncContextManager[Store]]


class Writer:
    """Writes to a store and remembers what it answered, in the order in which it did."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.answers: list[tuple[int, Record | StoreFault | None]] = []
        self._told = 0
        self._answered = asyncio.Event()

    def add(self, task: Task) -> None:
        self.store.add(AddTask(task, 0.0, None), self._hear())

    def start(
        self, task_id: str, attempt: int = 1, at: float = NOW, spent: Spent = NOTHING_SPENT
    ) -> None:
        effect = StartAttempt(task_id, attempt, spent, acknowledge=True)
        self.store.start(effect, at, self._hear())

    def requeue(self, task_id: str, attempt: int = 1, output: bytes = b"") -> None:
        effect = RequeueTask(task_id, attempt, BOOM, 1.0, output, SPENT)
        self.store.requeue(effect, NOW, self._hear())

    def finish(self, task_id: str, at: float = NOW, **changes: Any) -> None:
        effect = FinishTask(task_id, 1, Status.COMPLETED, b"42", None, b"")
        self.store.finish(msgspec.structs.replace(effect, **changes), at, self._hear())

    async def settled(self) -> list[Record | StoreFault | None]:
        """Return all answers so far once none is outstanding; they came in order."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.answers) < self._told:
                self._answered.clear()
                await self._answered.wait()
        assert [number for number, _ in self.answers] == list(range(self._told))
        return [answer for _, answer in self.answers]

    async def last(self) -> Record | StoreFault | None:
        """Return the answer to the last write."""
        return (await self.settled())[-1]

    async def record(self, task_id: str) -> Record:
        """Return the record of a task that must be there, once all is written."""
        await self.settled()
        record = await self.store.get(task_id)
        assert record is not None, task_id
        return record

    def _hear(self) -> Callable[[Record | StoreFault | None], None]:
        number = self._told
        self._told += 1

        def hear(answer: Record | StoreFault | None) -> None:
            self.answers.append((number, answer))
            self._answered.set()

        return hear


class StoreConformance:
    """The promises; subclasses override the fixture `make_store`."""

    @pytest.fixture
    def make_store(self) -> StoreMaker:
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: StoreMaker) -> Callable[[Callable[[Writer], Awaitable[T]]], T]:
        """Run one story with a writer to a fresh store."""

        def run(story: Callable[[Writer], Awaitable[T]]) -> T:
            async def told() -> T:
                async with make_store() as store:
                    return await story(Writer(store))

            return asyncio.run(told())

        return run

    # Writing.

    def test_a_new_task_is_kept_as_it_came(self, store: Any) -> None:
        task = make_task(
            "a",
            payload=b'{"function":"work","args":["\xe2\x98\x83"]}',
            priority=Priority.HIGH,
            max_retries=3,
            retry_delay_s=0.25,
            run_at=NOW + 5,
            expires_at=NOW + 9.5,
            depends_on=("b", "c"),
            on_dependency_failure=OnDependencyFailure.RUN,
            requirements=Requirements(cpu_cores=1.5, memory_mb=64.0, gpus=1),
            tags=("x", "y"),
            metadata=b'{"k":1}',
            retry_of="z",
            client="ci",
            digest=b"\x00\xff",
        )
        for field in msgspec.structs.fields(Task):
            assert getattr(task, field.name) != field.default, f"say something of {field.name}"

        async def story(writer: Writer) -> None:
            writer.add(task)
            assert await writer.last() is None
            record = await writer.record("a")
            assert record.task == task
            assert (record.status, record.attempt, record.number) == (Status.QUEUED, 0, 1)
            assert (record.result, record.failure, record.started_at) == (None, None, None)
            assert not record.ended

        store(story)

    def test_an_id_is_taken_once(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a", digest=b"one"))
            writer.start("a")
            writer.add(make_task("a", digest=b"two"))
            known = await writer.last()
            assert isinstance(known, Record)
            assert (known.task.digest, known.status) == (b"one", Status.RUNNING)
            assert (await writer.record("a")).task.digest == b"one"
            assert len((await writer.store.page(Query())).records) == 1

        store(story)

    def test_who_is_not_there_is_not_found(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            assert await writer.store.get("nobody") is None

        store(story)

    def test_a_start_is_noted(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.start("a", 1, NOW + 2.5, SPENT)
            assert await writer.last() is None
            record = await writer.record("a")
            assert (record.status, record.attempt) == (Status.RUNNING, 1)
            assert record.started_at == NOW + 2.5
            assert record.spent == SPENT, "whatever was said, or not stored, before"

        store(story)

    def test_a_task_that_waits_for_another_attempt_says_how_the_last_one_ended(
        self, store: Any
    ) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.start("a")
            writer.requeue("a", 1, b"so far")
            record = await writer.record("a")
            assert (record.status, record.attempt) == (Status.QUEUED, 1)
            assert (record.failure, record.output) == (BOOM, b"so far")
            assert (record.spent, record.ready_at) == (SPENT, NOW + 1.0)
            writer.start("a", 2)
            assert (await writer.record("a")).attempt == 2

        store(story)

    def test_what_has_not_ended_can_be_taken_up_in_order_piece_by_piece(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            for task_id in "abcde":
                writer.add(make_task(task_id))
            writer.start("b")
            writer.start("c")
            writer.requeue("c")
            writer.finish("d")
            await writer.settled()
            first = await writer.store.unended(0, 2)
            assert [record.task.task_id for record in first] == ["a", "b"]
            rest = await writer.store.unended(first[-1].number, 100)
            assert [record.task.task_id for record in rest] == ["c", "e"]
            assert await writer.store.unended(rest[-1].number, 100) == []

        store(story)

    @pytest.mark.parametrize("status", sorted(TERMINAL))
    def test_an_end_is_noted_with_all_that_belongs_to_it(self, store: Any, status: Status) -> None:
        done = status is Status.COMPLETED
        result, failure = (b'{"a":[1]}', None) if done else (None, BOOM)

        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.start("a", 2)
            writer.finish(
                "a",
                NOW + 7,
                attempt=2,
                status=status,
                result=result,
                failure=failure,
                output=b"printed \xff",
            )
            assert await writer.last() is None
            record = await writer.record("a")
            assert record.ended
            assert (record.status, record.attempt) == (status, 2)
            assert (record.result, record.failure) == (result, failure)
            assert (record.output, record.completed_at) == (b"printed \xff", NOW + 7)

        store(story)

    @pytest.mark.parametrize("change", [{"status": Status.CANCELLED}, {"attempt": 2}])
    def test_a_task_ends_once(self, store: Any, change: dict[str, Any]) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.finish("a")
            before = await writer.record("a")
            writer.finish("a", NOW + 50, **change)
            assert isinstance(await writer.last(), StoreFault)
            assert await writer.record("a") == before

        store(story)

    def test_the_same_end_told_again_is_acknowledged_and_changes_nothing(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.finish("a", failure=BOOM, status=Status.FAILED, result=None)
            before = await writer.record("a")
            writer.finish("a", NOW + 50, failure=BOOM, status=Status.FAILED, result=None)
            assert await writer.last() is None
            assert await writer.record("a") == before

        store(story)

    def test_nothing_reopens_a_task_that_has_ended(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.finish("a")
            before = await writer.record("a")
            writer.start("a", 2)
            assert isinstance(await writer.last(), StoreFault)
            writer.requeue("a")
            assert isinstance(await writer.last(), StoreFault)
            assert await writer.record("a") == before

        store(story)

    def test_writes_to_a_task_that_is_not_there_do_no_harm(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.start("nobody")
            assert isinstance(await writer.last(), StoreFault)
            writer.requeue("nobody")
            assert isinstance(await writer.last(), StoreFault)
            writer.finish("nobody")
            assert await writer.last() is None, "it was forgotten; nobody waits for it"
            assert await writer.store.get("nobody") is None

        store(story)

    def test_what_was_read_does_not_change_afterwards(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            one = await writer.record("a")
            (other,) = (await writer.store.page(Query())).records
            writer.add(make_task("a"))
            known = await writer.last()
            writer.finish("a")
            await writer.settled()
            assert isinstance(known, Record)
            assert not one.ended
            assert not other.ended
            assert not known.ended

        store(story)

    def test_each_write_is_acknowledged_once_and_in_order(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            for number in range(50):
                name = f"{number}"
                writer.add(make_task(name))
                writer.start(name)
                writer.requeue(name)
                writer.start(name, 2)
                writer.finish(name)
                if number % 7 == 0:
                    writer.finish(name, status=Status.CANCELLED)
            answers = await writer.settled()
            assert len(answers) == 50 * 5 + 8
            assert sum(isinstance(answer, StoreFault) for answer in answers) == 8

        store(story)

    # Reading pages.

    def test_pages_show_the_newest_first(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            for name in "abcde":
                writer.add(make_task(name))
            await writer.settled()
            page = await writer.store.page(Query(limit=3))
            assert [record.task.task_id for record in page.records] == ["e", "d", "c"]
            page = await writer.store.page(Query(limit=3, cursor=page.cursor))
            assert [record.task.task_id for record in page.records] == ["b", "a"]
            assert page.cursor is None

        store(story)

    def test_a_page_that_is_just_full_is_the_last(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            assert (await writer.store.page(Query(limit=2))).records == []
            writer.add(make_task("a"))
            writer.add(make_task("b"))
            await writer.settled()
            assert (await writer.store.page(Query(limit=2))).cursor is None
            assert (await writer.store.page(Query(limit=1))).cursor is not None

        store(story)

    def test_filters_choose_by_status_function_and_tag(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a", function="add", tags=("x",)))
            writer.add(make_task("b", function="sub", tags=("x", "y")))
            writer.add(make_task("c", function="add", tags=("yy",)))
            writer.start("a")
            writer.finish("b")
            await writer.settled()

            async def found(**query: Any) -> str:
                page = await writer.store.page(Query(**query))
                return "".join(record.task.task_id for record in page.records)

            assert await found(status=Status.RUNNING) == "a"
            assert await found(status=Status.COMPLETED) == "b"
            assert await found(function="add") == "ca"
            assert await found(tag="x") == "ba"
            assert await found(tag="y") == "b", "a tag is not a part of another one"
            assert await found(function="add", tag="x", status=Status.QUEUED) == ""
            assert await found(function="ADD") == ""

        store(story)

    def test_every_record_is_on_exactly_one_page_even_while_others_come_and_change(
        self, make_store: StoreMaker
    ) -> None:
        @rounds(25)
        @given(st.integers(0, 25), st.integers(1, 7), st.lists(st.integers(0, 24), max_size=8))
        def check(tasks: int, limit: int, touched: list[int]) -> None:
            async def story() -> None:
                async with make_store() as store:
                    writer = Writer(store)
                    for number in range(tasks):
                        writer.add(make_task(f"{number}"))
                    seen: list[str] = []
                    query = Query(limit=limit)
                    while True:
                        await writer.settled()
                        page = await store.page(query)
                        assert len(page.records) <= limit
                        seen += [record.task.task_id for record in page.records]
                        if page.cursor is None:
                            break
                        query = Query(limit=limit, cursor=page.cursor)
                        if touched:  # meanwhile one ends, and a new one comes
                            writer.add(make_task(f"new {len(seen)}"))
                            writer.start(f"{touched.pop() % tasks}")
                    assert seen == [f"{number}" for number in reversed(range(tasks))]

            asyncio.run(story())

        check()

    # Forgetting.

    def test_ended_tasks_are_forgotten_after_their_time_and_others_are_not(
        self, store: Any
    ) -> None:
        async def story(writer: Writer) -> None:
            for name in ("old", "young", "running", "queued"):
                writer.add(make_task(name))
            writer.start("running", at=NOW - 1e6)
            writer.finish("old", NOW)
            writer.finish("young", NOW + 10)
            await writer.settled()
            assert await writer.store.prune(NOW + TTL_S - 0.1) == 0
            assert await writer.store.prune(NOW + TTL_S + 1) == 1
            assert await writer.store.get("old") is None
            left = (await writer.store.page(Query())).records
            assert {record.task.task_id for record in left} == {"young", "running", "queued"}
            assert await writer.store.prune(NOW + 1e9) == 1

        store(story)

    def test_a_forgotten_id_may_be_used_again(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.finish("a")
            await writer.settled()
            assert await writer.store.prune(NOW + TTL_S + 1) == 1
            writer.add(make_task("a"))
            assert await writer.last() is None
            assert (await writer.record("a")).number == 2, "numbers are not used again"

        store(story)

    def test_ended_tasks_that_match_are_forgotten_when_asked_and_no_others(
        self, store: Any
    ) -> None:
        async def story(writer: Writer) -> None:
            for number in range(30):
                writer.add(make_task(f"{number}", function="add", tags=("x",)))
                writer.finish(f"{number}")
            writer.add(make_task("failed", function="add"))
            writer.finish("failed", status=Status.FAILED, result=None, failure=BOOM)
            writer.add(make_task("other", function="sub", tags=("x",)))
            writer.finish("other")
            writer.add(make_task("live", function="add", tags=("x",)))
            await writer.settled()
            forget = writer.store.forget
            assert await forget(Query(status=Status.QUEUED)) == 0
            assert await forget(Query(function="mul")) == 0
            assert await forget(Query(function="add", tag="x", limit=1, cursor="1")) == 30
            assert await writer.store.get("0") is None
            assert await forget(Query(status=Status.FAILED)) == 1
            left = (await writer.store.page(Query())).records
            assert [record.task.task_id for record in left] == ["live", "other"]
            assert await forget(Query()) == 1
            assert (await writer.record("live")).status is Status.QUEUED
            writer.add(make_task("other"))
            assert await writer.last() is None

        store(story)

    @pytest.mark.parametrize("where", ["result", "output"])
    def test_when_room_runs_out_the_first_that_ended_are_forgotten_and_never_a_live_one(
        self, store: Any, where: str
    ) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("live", payload=KILOBYTE * 200))
            for number in range(200):
                writer.add(make_task(f"{number}"))
                writer.finish(f"{number}", NOW, **{where: KILOBYTE})
            await writer.settled()
            await writer.store.prune(NOW)
            left = [record.task.task_id for record in (await writer.store.page(Query())).records]
            ended = left[:-1]
            assert left[-1] == "live"
            assert ended == [f"{number}" for number in reversed(range(200))][: len(ended)]
            assert 5 <= len(ended) <= MAX_BYTES / len(KILOBYTE)

        store(story)

    def test_a_result_larger_than_all_the_room_is_no_reason_to_fail(self, store: Any) -> None:
        async def story(writer: Writer) -> None:
            writer.add(make_task("a"))
            writer.add(make_task("b"))
            writer.finish("a", result=KILOBYTE * 100)
            assert await writer.last() is None
            await writer.store.prune(NOW)
            writer.finish("b")
            assert (await writer.record("b")).ended

        store(story)


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    """Open a store for a while."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()
