"""What happens to tasks, as watching clients see it: a bounded history, and the present listeners.

Adding an event costs next to nothing while nobody listens. Every event has a number, and every run
of the worker an epoch; together they tell whether a client that was cut off can resume without a
gap.
"""

import asyncio
import os
import re
from collections import defaultdict, deque
from enum import StrEnum
from typing import Final

import msgspec

from vera_worker.lifecycle import Status
from vera_worker.tasks import Failure, Progress

#: The key of those who listen to all tasks; no task has this id.
_ALL: Final = ""
#: The number of an event, in no more digits than ever occur.
_NUMBER: Final = re.compile("[0-9]{1,18}")


class Kind(StrEnum):
    """What can happen to a task."""

    QUEUED = "queued"
    STARTED = "started"
    PROGRESS = "progress"
    REQUEUED = "requeued"
    ENDED = "ended"


class TaskEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to a task."""

    kind: Kind
    task_id: str
    function: str
    #: Seconds since the epoch.
    at: float
    status: Status
    attempt: int
    position: int | None = None
    progress: Progress | None = None
    #: Without its long parts: these are in the record.
    failure: Failure | None = None


class Numbered(msgspec.Struct, frozen=True, gc=False):
    """An event and its id, which a client sends back as Last-Event-ID."""

    id: str
    event: TaskEvent


def in_short(failure: Failure) -> Failure:
    """Return what fits into an event."""
    return Failure(cause=failure.cause, message=failure.message, type=failure.type)


class Listener:
    """One client's events that are not sent yet."""

    def __init__(self, task_id: str, backlog: int) -> None:
        self.task_id = task_id
        self._backlog = backlog
        self._unsent: deque[Numbered] = deque()
        #: Set when there is something to do.
        self.news = asyncio.Event()
        #: Whether it was so slow that it missed events.
        self.behind = False
        #: Whether no event will come any more.
        self.closed = False

    def put(self, numbered: Numbered) -> None:
        """Keep an event for the client; one that is too far behind gets no further ones."""
        if len(self._unsent) >= self._backlog:
            self.behind = True
        if not self.behind:
            self._unsent.append(numbered)
        self.news.set()

    def take(self) -> list[Numbered]:
        """Return what is to be sent now."""
        self.news.clear()
        taken = list(self._unsent)
        self._unsent.clear()
        return taken

    def close(self) -> None:
        """Say that no event will come any more."""
        self.closed = True
        self.news.set()


class Feed:
    """The last `history` events, and all who listen, each at most `backlog` events behind."""

    def __init__(self, history: int, backlog: int) -> None:
        self.epoch = os.urandom(4).hex()
        self._history: deque[TaskEvent] = deque(maxlen=history)
        self._backlog = backlog
        self._number = 0
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)

    @property
    def last_id(self) -> str:
        """The id of the last event."""
        return self._id(self._number)

    @property
    def listening(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    def add(self, event: TaskEvent) -> None:
        """Note an event and pass it on."""
        self._number += 1
        self._history.append(event)
        if self._listeners:
            for who in (event.task_id, _ALL):
                for listener in self._listeners.get(who, ()):
                    listener.put(Numbered(self.last_id, event))

    def listen(self, task_id: str | None = None) -> Listener:
        """Listen to one task or to all of them, from now on."""
        listener = Listener(task_id or _ALL, self._backlog)
        self._listeners[listener.task_id].append(listener)
        return listener

    def unlisten(self, listener: Listener) -> None:
        """Stop listening."""
        listeners = self._listeners[listener.task_id]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[listener.task_id]

    def since(self, last_id: str, task_id: str | None = None) -> list[Numbered] | None:
        """Return what happened after that event; None where that is not known any more."""
        epoch, _, digits = last_id.partition("-")
        if epoch != self.epoch or not _NUMBER.fullmatch(digits):
            return None
        first = self._number - len(self._history) + 1
        if not first - 1 <= int(digits) <= self._number:
            return None
        return [
            Numbered(self._id(number), event)
            for number, event in enumerate(self._history, first)
            if number > int(digits) and task_id in (None, event.task_id)
        ]

    def close(self) -> None:
        """The worker stops: let all who listen go."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()

    def _id(self, number: int) -> str:
        return f"{self.epoch}-{number}"
