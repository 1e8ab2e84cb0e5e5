"""Who waits for what, and who does not any more."""

import asyncio

from tests.fakes.on_loop import on_loop, turn
from vera_supervisor.journal import Journal


@on_loop
async def test_all_who_wait_for_a_task_wake_and_no_one_else() -> None:
    journal = Journal()
    first, second, other = (journal.expect_end(name) for name in ("a", "a", "b"))
    assert journal.waiting == 3
    journal.ended("a")
    assert first.done()
    assert second.done()
    assert not other.done()
    assert journal.waiting == 1


@on_loop
async def test_who_gives_up_is_forgotten_and_the_others_are_not() -> None:
    journal = Journal()
    first, second = journal.expect_end("a"), journal.expect_end("a")
    first.cancel()
    await turn()
    assert journal.waiting == 1
    journal.ended("a")
    assert second.done()
    await turn()
    assert journal.waiting == 0
    assert not journal._waiting


@on_loop
async def test_an_end_that_no_one_waits_for_leaves_nothing_behind() -> None:
    journal = Journal()
    for number in range(100):
        journal.ended(f"{number}")
    assert not journal._waiting


@on_loop
async def test_closing_wakes_everybody() -> None:
    journal = Journal()
    waiting = [journal.expect_end(name) for name in "abc"]
    journal.close()
    await asyncio.gather(*waiting)
    assert journal.waiting == 0
