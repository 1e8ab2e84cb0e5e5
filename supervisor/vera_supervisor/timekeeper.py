"""Submits what recurs when it is due; the one part of the schedules that knows what time it is.

The id of a task follows from the name of its schedule and its due time, and a store accepts an id
once: neither a restart nor a clock that is set back makes two tasks of one due time.
"""

import logging
from collections.abc import Mapping
from typing import Final

import anyio
import msgspec

from vera_supervisor.catalogue import Catalogue
from vera_supervisor.clock import Clock
from vera_supervisor.config import Config, Schedule
from vera_supervisor.dispatcher import Dispatcher
from vera_supervisor.recurrence import ON_TIME_S, MissedRun, Recurrence, due_text
from vera_supervisor.schedule_marks import ScheduleMarks
from vera_supervisor.scheduling import effects as fx
from vera_supervisor.store.url import database_path
from vera_worker.errors import VeraError
from vera_worker.tasks import Task

log = logging.getLogger(__name__)

#: Seconds between two looks at the clock, at most: it may be set, or the machine may sleep.
LONGEST_NAP_S: Final = 30.0
#: Seconds until what was refused is submitted again.
RETRY_S: Final = 5.0


class UnfitSchedule(VeraError):
    """A schedule asks for a call that no task module can answer; the message says what to do."""


class Timekeeper:
    """Keeps all schedules of a worker."""

    def __init__(
        self,
        config: Config,
        catalogue: Catalogue,
        dispatcher: Dispatcher,
        clock: Clock,
        marks: ScheduleMarks,
    ) -> None:
        """Take the schedules; raise UnfitSchedule where one could never be kept."""
        durable = database_path(config.store.url) is not None
        templates = self.templates(config, catalogue)
        self._keepers = [
            Keeper(
                schedule,
                templates[schedule.name],
                dispatcher,
                clock,
                marks,
                # The store may no longer know whether anything that was due earlier was done.
                look_back_s=config.store.result_ttl if durable else 0.0,
            )
            for schedule in config.schedules
        ]

    @staticmethod
    def templates(config: Config, catalogue: Catalogue) -> dict[str, Task]:
        """Return the tasks of all schedules by name; raise UnfitSchedule where there is none."""
        return {s.name: template(s, config, catalogue) for s in config.schedules}

    def obey(self, templates: Mapping[str, Task]) -> None:
        """Submit these tasks from now on; the schedules themselves are the same."""
        for keeper in self._keepers:
            keeper.template = templates[keeper.name]

    async def run(self) -> None:
        """Keep them for ever."""
        async with anyio.create_task_group() as group:
            for keeper in self._keepers:
                group.start_soon(keeper.run)


class Keeper:
    """Keeps one schedule."""

    def __init__(
        self,
        schedule: Schedule,
        template: Task,
        dispatcher: Dispatcher,
        clock: Clock,
        marks: ScheduleMarks,
        *,
        look_back_s: float,
    ) -> None:
        self._schedule = schedule
        self.name = schedule.name
        #: Its task, but for the id and the time; a reload puts another one here.
        self.template = template
        self._dispatcher = dispatcher
        self._clock = clock
        self._recurrence = Recurrence(schedule.cron, schedule.timezone)
        self._marks = marks
        #: All due times up to this one are dealt with.
        self._since = self._dealt_with(look_back_s)
        #: The due time whose task was refused last, so that the log says so once.
        self._refused: int | None = None

    def _dealt_with(self, look_back_s: float) -> float:
        """Return up to when all due times count as dealt with at the start."""
        now, mark = self._clock.wall(), self._marks.get(self.name)
        if mark is not None and mark > now:
            mark = None  # the clock has been put back since; ids are accepted once all the same
        if self._schedule.missed is MissedRun.SKIP:
            look_back_s = min(look_back_s, ON_TIME_S)
            return max(mark or 0, now - look_back_s)
        return now - look_back_s if mark is None else mark

    async def run(self) -> None:
        """Keep it for ever."""
        while True:
            await self._sleep(await self._look())

    async def _look(self) -> float:
        """Submit what is due; return the seconds until it is worth to look again."""
        now = self._clock.wall()
        turn = self._recurrence.turn(self._since, now, self._schedule.missed)
        if turn.run is not None:
            if not await self._submit(turn.run):
                return RETRY_S
            await self._pass(turn.run)
        elif turn.missed is not None:
            log.warning(
                "schedules.%s: the run that was due at %s is left out",
                self._schedule.name,
                due_text(turn.missed),
            )
            await self._pass(turn.missed)
        now = self._clock.wall()
        following = self._recurrence.next_after(max(now, self._since))
        return LONGEST_NAP_S if following is None else min(LONGEST_NAP_S, following - now)

    async def _pass(self, due: int) -> None:
        self._since = due
        await self._marks.set(self.name, due)

    async def _submit(self, due: int) -> bool:
        """Return whether that due time is dealt with: there is a task for it, or never will be."""
        name = self._schedule.name
        task = msgspec.structs.replace(
            self.template,
            task_id=f"schedule.{name}.{due_text(due)}",
            queued_at=self._clock.wall(),
        )
        answer = await self._dispatcher.submit(task)
        if isinstance(answer, fx.Accept) or answer.refusal is fx.Refusal.CONFLICT:
            return True
        if answer.refusal not in fx.PASSING:
            log.error("schedules.%s: refused, and left out: %s", name, answer.detail)
            return True
        if self._refused != due:
            log.warning("schedules.%s: refused, and tried again: %s", name, answer.detail)
            self._refused = due
        return False

    async def _sleep(self, seconds: float) -> None:
        awake = anyio.Event()
        timer = self._clock.call_at(self._clock.now() + seconds, awake.set)
        try:
            await awake.wait()
        finally:
            timer.cancel()


def template(schedule: Schedule, config: Config, catalogue: Catalogue) -> Task:
    """Return the task of a schedule without its id and time; raise UnfitSchedule."""
    function = catalogue.get(schedule.function)
    if function is None:
        missing = catalogue.missing(schedule.function)
        raise UnfitSchedule(f"schedules.{schedule.name}.function: {missing}")
    args, kwargs = list(schedule.args), dict(schedule.kwargs or {})
    fault = function.fault(args, kwargs)
    if fault is not None:
        raise UnfitSchedule(
            f"schedules.{schedule.name}.args: the arguments do not fit "
            f"{schedule.function}{function.info.signature}: {fault}"
        )
    call: Mapping[str, object] = {"function": schedule.function, "args": args, "kwargs": kwargs}
    terms = function.terms(
        priority=schedule.priority,
        timeout_s=schedule.timeout,
        default_timeout_s=config.limits.task_timeout,
    )
    return Task(
        task_id="",
        function=schedule.function,
        payload=msgspec.json.encode(call),
        priority=terms.priority,
        timeout_s=terms.timeout_s,
        queued_at=0.0,
        max_retries=terms.max_retries,
        retry_delay_s=terms.retry_delay_s,
        tags=(f"schedule:{schedule.name}",),
    )
