"""Many submissions on one connection: each line is a task, its answer comes in its turn.

The feeder reads lines, submits them as the queue has room, and keeps a place for each answer. The
places are filled in any order, and `answers` hands them out from the front. Nothing here stands
between a task and its run: once it is posted to the dispatcher, the client may leave, and only the
answers are lost.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from itertools import takewhile
from typing import Final

import msgspec

from vera_supervisor.api.lines import Line
from vera_supervisor.api.problems import Problem, line_of
from vera_supervisor.api.schemas import Accepted, encode
from vera_supervisor.api.services import Services
from vera_supervisor.api.submissions import read_submission, submitted
from vera_supervisor.scheduling import events as ev
from vera_supervisor.scheduling.effects import Accept, Refusal, Refuse
from vera_supervisor.store.protocol import StoreUnavailable
from vera_worker.tasks import Record

#: Lines that are submitted before the worker's other clients get a turn.
_AT_ONCE: Final = 64
#: Lines at most that are read and not answered, and what their answers may take together before
#: records that come later are read again in their turn.
_MAX_PENDING: Final = 10_000
_MAX_HELD_BYTES: Final = 8 << 20
#: Seconds between two pieces of the answer while many tasks end: each piece has its price.
_PIECE_EVERY_S: Final = 0.005


class Intake:
    """One request with many submissions."""

    def __init__(
        self, services: Services, request_id: str, *, wait_s: float = 0.0, reject: bool = False
    ) -> None:
        self.services = services
        self.request_id = request_id
        self.wait_s = wait_s
        self._reject = reject
        self._places: deque[_Place] = deque()
        #: What the answers take that wait for their turn.
        self.held_bytes = 0
        #: Set when the first place has changed, or no line comes any more.
        self._due = asyncio.Event()
        #: Set when there are fewer lines to be answered.
        self._fewer = asyncio.Event()
        self._look_ups: set[asyncio.Task[None]] = set()

    async def answers(
        self, lines: AsyncIterator[Sequence[Line]]
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield the answers to all lines, in order, some at a time."""
        feeder = asyncio.create_task(self._feed(lines))
        feeder.add_done_callback(lambda _: self._due.set())
        loop, told_at = asyncio.get_running_loop(), 0.0
        try:
            while True:
                await self._until_due(feeder)
                if self._places and loop.time() < told_at + _PIECE_EVERY_S:
                    await asyncio.sleep(told_at + _PIECE_EVERY_S - loop.time())
                ready = self._take()
                if ready:
                    told_at = loop.time()
                    yield ready
                elif feeder.done() and not self._places:
                    feeder.result()
                    return
        finally:
            feeder.cancel()
            for look_up in self._look_ups:
                look_up.cancel()
            for place in self._places:
                place.let_go()

    def filled(self, place: "_Place", answer: bytes) -> None:
        """A place has its answer."""
        self.held_bytes += len(answer)
        self.changed(place)

    def is_full(self, place: "_Place") -> bool:
        """Return whether a place behind the first cannot have its answer kept."""
        return self.held_bytes >= _MAX_HELD_BYTES and place is not self._places[0]

    def changed(self, place: "_Place") -> None:
        """A place has its answer, or it is known now when that is due."""
        if place is self._places[0]:
            self._due.set()

    def look_up(self, place: "_Place", task_id: str) -> None:
        """Find out about a task that was accepted before: it may have ended already."""
        task = asyncio.create_task(self._look_up(place, task_id))
        self._look_ups.add(task)
        task.add_done_callback(self._look_ups.discard)

    async def _look_up(self, place: "_Place", task_id: str) -> None:
        try:
            record = await self.services.dispatcher.wait_ended(task_id, self.wait_s)
        except StoreUnavailable:
            record = None  # it is accepted all the same
        place.ended(record)

    async def _until_due(self, feeder: "asyncio.Task[None]") -> None:
        """Return when the first place has its answer, or all is said."""
        while not feeder.done() or self._places:
            if self._places and self._places[0].answer is not None:
                return
            first = self._places[0] if self._places else None
            self._due.clear()
            try:
                async with asyncio.timeout_at(None if first is None else first.due_at):
                    await self._due.wait()
            except TimeoutError:
                assert first is not None
                await first.time_is_up()

    def _take(self) -> list[bytes]:
        ready: list[bytes] = []
        places = self._places
        while places and (answer := places[0].answer) is not None:
            ready.append(answer)
            self.held_bytes -= len(answer)
            places.popleft()
        self._fewer.set()
        return ready

    async def _feed(self, pieces: AsyncIterator[Sequence[Line]]) -> None:
        async for lines in pieces:
            for start in range(0, len(lines), _AT_ONCE):
                while len(self._places) >= _MAX_PENDING or self.held_bytes >= _MAX_HELD_BYTES:
                    self._fewer.clear()
                    await self._fewer.wait()
                await self._submit(await self._read(lines[start : start + _AT_ONCE]))
                await asyncio.sleep(0)

    async def _read(self, lines: Iterable[Line]) -> "list[tuple[_Place, ev.Submitted]]":
        """Give each line its place, and return those that are submissions."""
        asked = []
        for line in lines:
            place = _Place(self, line.number)
            self._places.append(place)
            try:
                task = await read_submission(_whole(line, self.services), self.services)
            except Problem as problem:
                place.refused(problem)
            else:
                asked.append((place, submitted(task, self.services)))
        return asked

    async def _submit(self, asked: "list[tuple[_Place, ev.Submitted]]") -> None:
        dispatcher = self.services.dispatcher
        while asked:
            room = len(asked) if self._reject else await dispatcher.room()
            if asked[0][1].task.depends_on:
                await self._submit_dependent(*asked.pop(0))
                continue
            independent = list(takewhile(lambda pair: not pair[1].task.depends_on, asked[:room]))
            for place, submission in independent:
                dispatcher.offer(submission, place.answered)
            del asked[: len(independent)]

    async def _submit_dependent(self, place: "_Place", submission: ev.Submitted) -> None:
        try:
            submission = await self._with_ends(submission)
        except StoreUnavailable as error:
            task = submission.task
            place.answered(Refuse(task.task_id, Refusal.STORE, str(error), task.digest))
        else:
            self.services.dispatcher.offer(submission, place.answered)

    async def _with_ends(self, submission: ev.Submitted) -> ev.Submitted:
        """Add how the tasks ended that this one depends on; the lines before it are submitted."""
        dispatcher = self.services.dispatcher
        while True:
            ended = await dispatcher.records.ends_before(submission.task)
            if self._reject or dispatcher.has_room():
                return msgspec.structs.replace(submission, ended=ended)
            await dispatcher.room()  # others took it meanwhile, and more may have ended since


class _Place:
    """Where the answer to one line goes."""

    __slots__ = ("_accept", "_intake", "_number", "answer", "due_at")

    def __init__(self, intake: Intake, number: int) -> None:
        self._intake = intake
        self._number = number
        self._accept: Accept | None = None
        self.answer: bytes | None = None
        #: When it is answered at the latest, on the loop's clock; None: when the task is accepted.
        self.due_at: float | None = None

    def answered(self, answer: Accept | Refuse) -> None:
        """The submission was accepted or refused, and that is stored."""
        intake = self._intake
        if isinstance(answer, Refuse):
            self.refused(intake.services.problem_of(answer))
        elif not intake.wait_s:
            self._fill(_accepted_line(answer))
        else:
            self._accept = answer
            self.due_at = asyncio.get_running_loop().time() + intake.wait_s
            intake.changed(self)
            if answer.known:
                intake.look_up(self, answer.task_id)
            else:
                intake.services.dispatcher.journal.watch(answer.task_id, self.ended)

    def refused(self, problem: Problem) -> None:
        """The line is not taken."""
        self._fill(line_of(problem, self._intake.request_id, self._number))

    def ended(self, record: Record | None) -> None:
        """The task has ended, or the worker does not wait for it any more."""
        if self.answer is not None:
            return
        assert self._accept is not None
        if record is None:
            self._fill(_accepted_line(self._accept))
        elif self._intake.is_full(self):
            self.due_at = 0.0  # the record is read again when its turn comes
        else:
            shown = encode(self._intake.services.shown(record))
            self._fill(_with_code(200 if record.ended else 202, shown))

    async def time_is_up(self) -> None:
        """Answer with how things stand."""
        assert self._accept is not None
        self.let_go()
        try:
            record = await self._intake.services.dispatcher.records.get(self._accept.task_id)
        except StoreUnavailable:
            record = None  # it is accepted all the same
        self.ended(record)

    def let_go(self) -> None:
        """Nobody wants the answer any more, or not later."""
        if self._accept is not None:
            self._intake.services.dispatcher.journal.unwatch(self._accept.task_id, self.ended)

    def _fill(self, answer: bytes) -> None:
        self.answer = answer
        self._intake.filled(self, answer)


def _whole(line: Line, services: Services) -> bytes:
    if line.text is None:
        limit = services.config.limits.max_body
        raise Problem(413, f"a line has at most limits.max_body = {limit} bytes")
    return line.text


def _accepted_line(accept: Accept) -> bytes:
    accepted = encode(Accepted(accept.status, accept.task_id, accept.position))
    return _with_code(200 if accept.known else 202, accepted)


def _with_code(code: int, shown: bytes) -> bytes:
    """Put the status that a single submission would have been answered with before an object."""
    return b'{"code":%d,%b' % (code, shown[1:])
