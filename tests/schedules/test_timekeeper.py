"""What recurs is submitted when it is due, once, whatever happens to worker, clock and store.

The clock of the fakes starts on 2001-09-09 at 02:03:20 UTC.
"""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from tests.dispatching.bench_of_fakes import Bench
from tests.fakes.makers import make_task
from tests.fakes.on_loop import on_loop, turn
from vera_supervisor.catalogue import Catalogue
from vera_supervisor.config import Config, FunctionLimits, Schedule, Store
from vera_supervisor.recurrence import MissedRun
from vera_supervisor.schedule_marks import ScheduleMarks
from vera_supervisor.scheduling.effects import Refusal
from vera_supervisor.store.protocol import Query
from vera_supervisor.timekeeper import LONGEST_NAP_S, RETRY_S, Timekeeper, UnfitSchedule, template
from vera_worker.handlers import describe
from vera_worker.tasks import Priority

LIMITS = {"work": FunctionLimits(priority=Priority.HIGH, timeout=7.0, max_retries=3)}


def work(*numbers: int, mode: str = "full") -> int:
    return len(numbers) + len(mode)


def make_schedule(cron: str = "0 3 * * *", **changes: Any) -> Schedule:
    return Schedule(**{"name": "nightly", "cron": cron, "function": "work"} | changes)


def catalogue() -> Catalogue:
    return Catalogue([describe(work)], LIMITS)


@asynccontextmanager
async def kept(
    bench: Bench,
    *schedules: Schedule,
    url: str = "sqlite:///tasks.db",
    marks: ScheduleMarks | None = None,
) -> AsyncIterator[None]:
    """Keep schedules for the length of an `async with` block."""
    marks = marks or ScheduleMarks(None)
    config = Config(schedules=schedules, store=Store(url=url))
    timekeeper = Timekeeper(config, catalogue(), bench.dispatcher, bench.clock, marks)
    running = asyncio.create_task(timekeeper.run())
    await settle(bench)
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def settle(bench: Bench) -> None:
    await turn(5)
    bench.store.acknowledge()
    await turn(5)


async def pass_time(bench: Bench, seconds: float) -> None:
    """Go on in steps that no nap is shorter than, and let the store carry out what it is told."""
    while seconds > 0:
        step = min(seconds, 5.0)
        bench.clock.pass_time(step)
        await settle(bench)
        seconds -= step


def submitted(bench: Bench) -> list[str]:
    """Return the ids of all tasks that were accepted."""
    return sorted(bench.scheduler.live)


@on_loop
async def test_a_task_is_submitted_when_it_is_due_and_not_before() -> None:
    bench = Bench()
    async with kept(bench, make_schedule("5 2 * * *")):
        await pass_time(bench, 95.0)
        assert submitted(bench) == []
        await pass_time(bench, 5.0)
        assert submitted(bench) == ["schedule.nightly.20010909T020500Z"]
        await pass_time(bench, 600.0)
        assert len(submitted(bench)) == 1


@on_loop
async def test_each_due_time_has_a_task_of_its_own() -> None:
    bench = Bench()
    async with kept(bench, make_schedule("* * * * *"), make_schedule("*/2 * * * *", name="b")):
        await pass_time(bench, 200.0)
    assert submitted(bench) == [
        *(f"schedule.b.20010909T020{minute}00Z" for minute in (4, 6)),
        *(f"schedule.nightly.20010909T020{minute}00Z" for minute in (3, 4, 5, 6)),
    ]


@on_loop
async def test_a_restart_submits_nothing_twice() -> None:
    bench = Bench()
    schedule = make_schedule("* * * * *", missed=MissedRun.RUN_ONCE)
    async with kept(bench, schedule):
        await pass_time(bench, 45.0)
    before = submitted(bench)
    assert before == ["schedule.nightly.20010909T020300Z", "schedule.nightly.20010909T020400Z"]
    async with kept(bench, schedule), kept(bench, schedule):
        assert submitted(bench) == before
        assert bench.metrics.refusals.total() == 0


@on_loop
async def test_a_due_time_whose_task_has_ended_is_not_run_again() -> None:
    bench = Bench()
    schedule = make_schedule("* * * * *", missed=MissedRun.RUN_ONCE)
    async with kept(bench, schedule):
        bench.pool.end("schedule.nightly.20010909T020300Z")
        bench.store.acknowledge()
    assert submitted(bench) == []
    async with kept(bench, schedule):
        assert submitted(bench) == []


@pytest.mark.parametrize("missed", MissedRun)
@on_loop
async def test_nor_one_whose_task_has_been_forgotten(missed: MissedRun) -> None:
    bench, marks = Bench(), ScheduleMarks(None)
    schedule = make_schedule("* * * * *", missed=missed)
    async with kept(bench, schedule, marks=marks):
        bench.pool.end("schedule.nightly.20010909T020300Z")
        bench.store.acknowledge()
        await bench.store.forget(Query())
    async with kept(bench, schedule, marks=marks):
        assert submitted(bench) == []
    bench.clock.put_forward(-3600.0)
    async with kept(bench, schedule, marks=marks):
        assert submitted(bench) == ["schedule.nightly.20010909T010300Z"], "that mark is to come"


@on_loop
async def test_what_a_worker_missed_is_made_good_however_long_it_was_away() -> None:
    bench, marks = Bench(), ScheduleMarks(None)
    monthly = make_schedule("0 1 1 * *", missed=MissedRun.RUN_ONCE)
    await marks.set("nightly", int(bench.clock.wall()) - 40 * 86400)
    async with kept(bench, monthly, marks=marks):
        assert submitted(bench) == ["schedule.nightly.20010901T010000Z"]


@on_loop
async def test_marks_are_kept_in_a_file_and_do_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "tasks.db"
    marks = ScheduleMarks(database)
    assert marks.get("a") is None
    async with anyio.create_task_group() as group:
        for number, name in enumerate("abc"):
            group.start_soon(marks.set, name, number)
    assert [ScheduleMarks(database).get(name) for name in "abcd"] == [0, 1, 2, None]
    file = tmp_path / "tasks.db.schedules.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not caplog.text
    file.write_bytes(file.read_bytes()[:-3])
    assert ScheduleMarks(database).get("a") is None
    assert "tasks.db.schedules.json is left out" in caplog.text
    await ScheduleMarks(tmp_path / "gone" / "tasks.db").set("a", 1)
    assert "what schedules have done could not be noted" in caplog.text


@pytest.mark.parametrize(
    ("cron", "missed", "url", "made_good"),
    [
        ("0 1 * * *", MissedRun.RUN_ONCE, "sqlite:///tasks.db", ["20010909T010000Z"]),
        ("0 1 * * *", MissedRun.SKIP, "sqlite:///tasks.db", []),
        # Within a minute it is no more than late.
        ("3 2 * * *", MissedRun.SKIP, "sqlite:///tasks.db", ["20010909T020300Z"]),
        # The day before: its task may have been forgotten since.
        ("0 2 8 * *", MissedRun.RUN_ONCE, "sqlite:///tasks.db", []),
        # What an earlier run did, this store does not know.
        ("3 2 * * *", MissedRun.RUN_ONCE, "memory:", []),
        ("3 2 * * *", MissedRun.SKIP, "memory:", []),
    ],
)
def test_what_was_due_before_the_start(
    cron: str, missed: MissedRun, url: str, made_good: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    @on_loop
    async def check() -> None:
        bench = Bench()
        async with kept(bench, make_schedule(cron, missed=missed), url=url):
            await pass_time(bench, 60.0)
        assert submitted(bench) == [f"schedule.nightly.{due}" for due in made_good]

    check()
    assert not caplog.text, "it may have been done by the worker before"


@on_loop
async def test_when_the_machine_slept_the_last_due_time_is_made_good_or_spoken_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    again = make_schedule("30 * * * *", name="again", missed=MissedRun.RUN_ONCE)
    async with kept(bench, make_schedule("30 * * * *"), again):
        # The clock to measure with stands still while a machine sleeps.
        bench.clock.put_forward(3 * 3600.0)
        await pass_time(bench, 3 * LONGEST_NAP_S)
        assert submitted(bench) == [
            "schedule.again.20010909T013000Z",  # from before the start
            "schedule.again.20010909T043000Z",
        ]
    message = "schedules.nightly: the run that was due at 20010909T043000Z is left out"
    assert caplog.text.count(message) == 1


@on_loop
async def test_a_refused_task_is_submitted_again_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    async with kept(bench, make_schedule("4 2 * * *")):
        bench.clock.pass_time(40.0)
        for _ in range(3):
            await turn(5)
            assert bench.store.pending == 1
            bench.store.fail()
            await turn(5)
            bench.clock.pass_time(RETRY_S)
        await settle(bench)
        assert submitted(bench) == ["schedule.nightly.20010909T020400Z"]
    assert caplog.text.count("refused, and tried again: the disk is full") == 1


@on_loop
async def test_what_will_never_be_taken_is_given_up_and_that_is_said_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    schedule = make_schedule("4-5 2 * * *")
    config, marks = Config(schedules=(schedule,)), ScheduleMarks(None)
    timekeeper = Timekeeper(config, catalogue(), bench.dispatcher, bench.clock, marks)
    fit = timekeeper.templates(config, catalogue())["nightly"]
    unfit = msgspec.structs.replace(fit, depends_on=("nobody",))
    timekeeper.obey({"nightly": unfit})
    running = asyncio.create_task(timekeeper.run())
    await pass_time(bench, 45.0)
    assert bench.metrics.refusals[Refusal.DEPENDENCY] == 1
    assert caplog.text.count("refused, and left out: depends_on: there is no task 'nobody'") == 1
    timekeeper.obey({"nightly": fit})
    await pass_time(bench, 60.0)
    assert submitted(bench) == ["schedule.nightly.20010909T020500Z"], "the next one is its own"
    running.cancel()


@on_loop
async def test_an_id_that_a_client_took_is_left_to_it() -> None:
    bench = Bench()
    task = make_task("schedule.nightly.20010909T020400Z", digest=b"another")
    asked = asyncio.create_task(bench.dispatcher.submit(task))
    await settle(bench)
    await asked
    async with kept(bench, make_schedule("4 2 * * *")):
        await pass_time(bench, 45.0)
        assert bench.store.pending == 0
        await pass_time(bench, 3 * RETRY_S)
    assert bench.metrics.refusals.total() == 1


@on_loop
async def test_a_clock_that_is_put_back_makes_no_second_task() -> None:
    bench = Bench()
    async with kept(bench, make_schedule("4 2 * * *")):
        await pass_time(bench, 45.0)
        bench.pool.end("schedule.nightly.20010909T020400Z")
        await settle(bench)
        await bench.store.forget(Query())
        await pass_time(bench, 10.0)
        bench.clock.put_forward(-45.0)
        await pass_time(bench, 120.0)
    assert submitted(bench) == []


def test_a_task_has_what_its_schedule_says_and_else_what_its_function_has() -> None:
    bare = template(make_schedule(), Config(), catalogue())
    assert (bare.priority, bare.timeout_s, bare.max_retries) == (Priority.HIGH, 7.0, 3)
    assert bare.tags == ("schedule:nightly",)
    said = make_schedule(args=(1, 2), kwargs={"mode": "x"}, priority=Priority.LOW, timeout=9.0)
    full = template(said, Config(), catalogue())
    assert (full.priority, full.timeout_s) == (Priority.LOW, 9.0)
    assert msgspec.json.decode(full.payload) == {
        "function": "work",
        "args": [1, 2],
        "kwargs": {"mode": "x"},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"function": "wrk"}, 'no task module offers a function "wrk"; did you mean "work"?'),
        ({"function": "zzz"}, 'schedules.nightly.function: no task module offers a function "zzz"'),
        ({"kwargs": {"mod": 1}}, "schedules.nightly.args: the arguments do not fit work(*numbers"),
    ],
)
def test_a_call_that_nothing_can_answer_is_refused_at_the_start(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnfitSchedule) as refused:
        template(make_schedule(**changes), Config(), catalogue())
    assert message in str(refused.value)
