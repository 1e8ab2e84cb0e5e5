"""Many tasks at once: order, bounds, full queues, restarts."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.fake_worker import Asked, FakeWorker, Reply, lines, problem, record
from vera_client.async_client import AsyncClient
from vera_client.calls import submission
from vera_client.errors import ApiProblem, Refused, WorkerUnreachable
from vera_client.groups import first_error
from vera_client.mapping import Mapper, Put, in_order
from vera_client.patience import Patience
from vera_client.records import TaskRecord


async def each(items: Sequence[int], together: int = 1) -> AsyncIterator[Sequence[int]]:
    for start in range(0, len(items), together):
        yield items[start : start + together]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 8), st.integers(1, 9))
def test_results_come_in_order_and_so_many_at_once(
    turns: list[int], at_once: int, together: int
) -> None:
    emitted: list[int] = []
    running = most = 0

    async def work(indices: Sequence[int], put: Put[int]) -> None:
        nonlocal running, most
        running += len(indices)
        most = max(most, running)
        for place, index in enumerate(indices):
            for _ in range(turns[index]):
                await anyio.lowlevel.checkpoint()
            running -= 1
            put(place, index)

    anyio.run(in_order, each(range(len(turns)), together), work, emitted.append, at_once)
    assert emitted == list(range(len(turns)))
    assert most <= at_once


def test_quick_ones_go_together_and_slow_ones_alone() -> None:
    emitted: list[int] = []
    sizes: list[int] = []
    clock = 1000.0

    async def work(indices: Sequence[int], put: Put[int]) -> None:
        nonlocal clock
        sizes.append(len(indices))
        await anyio.lowlevel.checkpoint()
        for place, index in enumerate(indices):
            clock += 0.01 if index < 100 else 1.0
            put(place, index)

    anyio.run(partial(in_order, now=lambda: clock), each(range(200), 40), work, emitted.append, 16)
    assert emitted == list(range(200))
    assert max(sizes) == 8, "half of those that may be under way"
    assert (sizes[0], sizes[-1]) == (1, 1)
    assert sizes.count(1) > 80


def test_a_slow_first_one_holds_back_only_what_is_printed() -> None:
    emitted: list[int] = []

    async def run() -> None:
        last_done = anyio.Event()

        async def work(indices: Sequence[int], put: Put[int]) -> None:
            if 0 in indices:
                await last_done.wait()
            if 9 in indices:
                assert emitted == []
                last_done.set()
            for place, index in enumerate(indices):
                put(place, index)

        with anyio.fail_after(60):
            await in_order(each(range(10)), work, emitted.append, 2)

    anyio.run(run)
    assert emitted == list(range(10))


def test_an_item_is_taken_when_its_turn_has_come() -> None:
    taken: list[int] = []

    async def endless() -> AsyncIterator[Sequence[int]]:
        for index in range(1_000_000):
            taken.append(index)
            yield [index]

    async def work(indices: Sequence[int], put: Put[int]) -> None:
        if 3 in indices:
            raise LookupError("the third")
        await anyio.lowlevel.checkpoint()
        put(0, indices[0])

    with pytest.raises(LookupError, match="the third"):
        anyio.run(in_order, endless(), work, lambda _: None, 2)
    assert len(taken) < 10


def test_an_error_of_the_items_is_raised_as_it_is() -> None:
    async def faulty() -> AsyncIterator[Sequence[int]]:
        yield [0]
        raise LookupError("line 2")

    async def work(_indices: Sequence[int], _put: Put[int]) -> None:
        await anyio.sleep_forever()

    with pytest.raises(LookupError, match="line 2"):
        anyio.run(in_order, faulty(), work, lambda _: None, 3)


class Sleeper:
    """Sleeps without time, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if seconds:
            self.slept.append(seconds)


def mapped(
    script: FakeWorker,
    *,
    times: int = 1,
    together: Sequence[bytes] = (),
    patience: float = 60,
    spread: float = 0,
) -> tuple[Any, Sleeper]:
    """Run the same call so many times in a row, or some together; return the records."""
    sleeper = Sleeper()
    delays: list[tuple[type, float]] = []

    async def run() -> list[TaskRecord]:
        async with AsyncClient(script.url, http=script.transport()) as worker:
            mapper = Mapper(
                worker,
                Patience(patience, lambda: spread),
                sleep=sleeper.sleep,
                now=lambda: sleeper.now,
                on_delay=lambda error, delay: delays.append((type(error), delay)),
            )
            if together:
                ended: dict[int, TaskRecord] = {}
                with first_error():
                    await mapper.run_all(together, ended.__setitem__)
                return [ended.pop(place) for place in range(len(together))]
            return [await mapper.run(submission("add", [1, 2], {}, {})) for _ in range(times)]

    records = anyio.run(run)
    assert [delay for _, delay in delays] == sleeper.slept
    return records, sleeper


FULL = problem(429, "The queue is full.", Retry_After="7")
DRAINS = problem(503, "The worker drains.", Retry_After="5")
AWAY = httpx.ConnectError("All connection attempts failed")


@pytest.fixture
def script() -> FakeWorker:
    return FakeWorker()


def test_a_full_queue_is_waited_for_as_long_as_it_says(script: FakeWorker) -> None:
    script.on("POST /task/submit", *[FULL] * 50, record())
    (done,), sleeper = mapped(script, patience=1)
    assert done.result == 3
    assert sleeper.slept == [7.0] * 50
    assert len({asked.body for asked in script.asked}) == 1  # one task id for all tries


def test_those_who_were_sent_away_together_do_not_come_back_at_one_moment(
    script: FakeWorker,
) -> None:
    script.on("POST /task/submit", FULL, record(), DRAINS, AWAY, record())
    _, sleeper = mapped(script, times=2, spread=0.25)
    assert sleeper.slept == [7.25, 5.25, 1.25]


def test_a_worker_that_restarts_is_waited_for(script: FakeWorker) -> None:
    script.on("POST /task/submit", record(), DRAINS, AWAY, AWAY, Reply(record("queued"), 202))
    script.on("GET /task/t-1", AWAY, record())
    records, sleeper = mapped(script, times=2)
    assert [done.status for done in records] == ["completed", "completed"]
    assert sleeper.slept == [5.0, 1.0, 1.0, 1.0]


def test_a_worker_that_does_not_come_back_is_given_up(script: FakeWorker) -> None:
    script.on("POST /task/submit", record(), AWAY)
    with pytest.raises(WorkerUnreachable):
        mapped(script, times=2, patience=10)
    assert len(script.asked) == 1 + 11


def test_a_worker_that_was_never_there_is_given_up_at_once(script: FakeWorker) -> None:
    script.on("POST /task/submit", AWAY)
    with pytest.raises(WorkerUnreachable):
        mapped(script)
    assert len(script.asked) == 1


def test_a_worker_that_drains_from_the_start_is_given_up_at_once(script: FakeWorker) -> None:
    script.on("POST /task/submit", DRAINS)
    with pytest.raises(Refused, match="drains"):
        mapped(script)


def test_arguments_that_do_not_fit_fail_their_own_task(script: FakeWorker) -> None:
    unfit = problem(422, "missing a required argument: 'b'")
    script.on("POST /task/submit", unfit, record(), unfit, record())
    records, _ = mapped(script, times=4)
    assert [done.status for done in records] == ["failed", "completed"] * 2
    assert records[0].error == "missing a required argument: 'b'"


def no_function() -> Reply:
    said = problem(422, "no function 'add'")
    return Reply(said.body | {"field": "payload.function"}, said.status)


def test_what_all_have_in_common_ends_it_all(script: FakeWorker) -> None:
    script.on("POST /task/submit", no_function())
    with pytest.raises(ApiProblem, match="no function"):
        mapped(script, times=3)


def test_a_token_that_is_refused_ends_it_all(script: FakeWorker) -> None:
    script.on("POST /task/submit", record(), problem(401, "Say who you are."))
    with pytest.raises(ApiProblem, match="Say who you are"):
        mapped(script, times=3)


def tasks(count: int) -> list[bytes]:
    return [submission("add", [number], {}, {}) for number in range(count)]


def test_several_go_in_one_request_and_each_has_its_own_record(script: FakeWorker) -> None:
    script.on("POST /tasks", lines(*(record(result=number) for number in range(3))))
    asked = tasks(3)
    records, _ = mapped(script, together=asked)
    assert [each.result for each in records] == [0, 1, 2]
    (request,) = script.asked
    assert request.body.splitlines() == asked
    assert request.query == {"wait": "5"}


def test_what_one_request_did_not_settle_goes_alone(script: FakeWorker) -> None:
    refused = problem(422, "missing a required argument: 'b'")
    running = Reply(record("running", task_id="t-slow"), 202)
    script.on("POST /tasks", lines(refused, record(result=1), running, FULL))
    script.on("GET /task/t-slow", record(result=2))

    class Alone(FakeWorker):
        """Answers by what is asked, for these come in any order."""

        def answer(self, asked: Asked) -> Reply:
            if asked.route != "POST /task/submit":
                return super().answer(asked)
            self.asked.append(asked)
            (number,) = asked.json["payload"]["args"]
            return refused if number == 0 else Reply(record(result=number))

    alone = Alone()
    alone._replies = script._replies
    records, _ = mapped(alone, together=tasks(4))
    assert [each.result for each in records] == [None, 1, 2, 3]
    assert records[0].error == "missing a required argument: 'b'"


@pytest.mark.parametrize(
    "lost", [AWAY, DRAINS, FULL, lines(record()), httpx.ReadError("reset")], ids=str
)
def test_tasks_whose_answers_are_lost_are_sent_again_under_the_same_ids(
    script: FakeWorker, lost: Any
) -> None:
    script.on("POST /tasks", lost)
    script.on("POST /task/submit", record())
    asked = tasks(3)
    records, _ = mapped(script, together=asked)
    assert [each.result for each in records] == [3, 3, 3]
    again = [each.body for each in script.asked if each.route == "POST /task/submit"]
    assert sorted(again) == sorted(asked)


def test_what_is_large_goes_alone(script: FakeWorker) -> None:
    script.on("POST /tasks", lines(record()))
    large = [submission("add", ["x" * 300_000], {}, {}) for _ in range(2)]
    records, _ = mapped(script, together=large)
    assert [each.result for each in records] == [3, 3]
    assert sorted(asked.body for asked in script.asked) == sorted(task + b"\n" for task in large)
    assert script.asked[0].query == {"wait": "50"}


def test_a_first_request_for_a_function_that_is_not_there_ends_it_all(script: FakeWorker) -> None:
    script.on("POST /tasks", lines(no_function(), no_function()))
    script.on("POST /task/submit", no_function())
    with pytest.raises(ApiProblem, match="no function"):
        mapped(script, together=tasks(2))


@given(st.lists(st.sampled_from([429, 503, None]), min_size=1))
def test_patience_ends_only_without_an_answer(statuses: list[int | None]) -> None:
    patience = Patience(10)
    patience.answered()
    now, away_since = 0.0, None
    for status in statuses:
        error = Refused(status, "no") if status else WorkerUnreachable("http://w", "gone")
        delay = patience.delay(error, now)
        if status == 429:
            away_since = None
            assert delay is not None
        else:
            away_since = now if away_since is None else away_since
            assert (delay is None) == (now - away_since >= 10)
        now += 4
