"""What every store promises about reading pages of tasks, and about forgetting them."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.makers import make_task, rounds
from tests.store.stories import (
    BOOM,
    KILOBYTE,
    MAX_BYTES,
    NOW,
    TTL_S,
    StoreMaker,
    Stories,
    Writer,
)
from vera_supervisor.store.protocol import Query
from vera_worker.lifecycle import Status


class ReadingConformance(Stories):
    """The promises; subclasses override the fixture `make_store`."""

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
