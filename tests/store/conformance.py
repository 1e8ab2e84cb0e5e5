"""What every store promises. A test module subclasses this and says how to make its store."""

from typing import Any

import msgspec
import pytest

from tests.fakes.makers import make_task
from tests.store.conformance_reading import ReadingConformance
from tests.store.stories import BOOM, NOW, SPENT, Writer
from vera_supervisor.store.protocol import Query, StoreFault
from vera_worker.lifecycle import TERMINAL, Status
from vera_worker.tasks import (
    OnDependencyFailure,
    Priority,
    Record,
    Requirements,
    Task,
)


class StoreConformance(ReadingConformance):
    """The promises; subclasses override the fixture `make_store`."""

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
