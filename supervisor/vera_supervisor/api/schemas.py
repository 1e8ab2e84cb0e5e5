"""The JSON of the API: what may come in, with its limits, and what goes out."""

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw

from vera_supervisor.api.problems import Problem
from vera_supervisor.feed import TaskEvent
from vera_supervisor.scheduling.waiting import Blocked
from vera_worker.lifecycle import Status
from vera_worker.tasks import (
    Cause,
    Failure,
    OnDependencyFailure,
    Priority,
    Progress,
    Record,
    Requirements,
)

T = TypeVar("T")

_NULL: Final = Raw(b"null")
#: Ids are parts of URLs and of log lines: no slash, blank or control character, not "." or "..".
_TASK_ID: Final = r"\A(?!\.{1,2}\Z)[A-Za-z0-9._:~@+=-]+\Z"
#: SQLite ends a text of a JSON array at that character: it would find another tag.
_TAG: Final = r"\A[^\x00]*\Z"
#: How msgspec puts these rules, and how we do.
_RULES: Final = {
    f"`str` matching regex {_TASK_ID!r}": "letters, digits and ._:~@+=- only",
    f"`str` matching regex {_TAG!r}": "a text without the character U+0000",
}
#: How msgspec says that an object has a field too many or too few, or that a word is none of some;
#: a name may be as long as a body.
_FIELD: Final = re.compile(
    "Object (?:(?P<missing>missing required)|contains unknown) field `(?P<name>.{0,200}).*`",
    re.DOTALL,
)
_NO_CHOICE: Final = "Invalid enum value"
#: By the field: the words that can stand there.
_CHOICES: Final[dict[str, type[StrEnum]]] = {
    "priority": Priority,
    "on_dependency_failure": OnDependencyFailure,
}
TaskId = Annotated[str, Meta(pattern=_TASK_ID, min_length=1, max_length=200)]
Seconds = Annotated[float, Meta(ge=0, le=3_153_600_000)]
Timeout = Annotated[float, Meta(gt=0)]
#: In UTC where we say it.
Time = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})]
Tag = Annotated[str, Meta(pattern=_TAG, min_length=1, max_length=100)]


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """What to run."""

    function: Annotated[str, Meta(min_length=1, max_length=200)]
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


#: Kept as it was sent, and read for itself.
_RawCall: TypeAlias = Annotated[Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Call"})]


class Submission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of POST /task/submit."""

    payload: _RawCall
    task_id: TaskId | None = None
    priority: Priority | None = None
    timeout: Timeout | None = None
    delay: Seconds | None = None
    run_at: Time | None = None
    expires_at: Time | None = None
    max_retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    retry_delay: Seconds | None = None
    requirements: Requirements | None = None
    depends_on: Annotated[list[TaskId], Meta(max_length=100)] = []
    on_dependency_failure: OnDependencyFailure = OnDependencyFailure.FAIL
    tags: Annotated[list[Tag], Meta(max_length=32)] = []
    # Not `Raw | None`: msgspec then takes nothing but null. Nor can it show a Raw as a default.
    metadata: Raw = msgspec.field(default_factory=lambda: _NULL)


class Filter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The body of POST /tasks/cancel and /tasks/purge: which tasks."""

    #: Which of them can be meant depends on the route, and so its sentence names them.
    status: Annotated[str, Meta(extra_json_schema={"enum": list(Status)})] | None = None
    function: str | None = None
    tag: str | None = None
    #: Where all of them are meant, that has to be said.
    all: bool = False


class Execution(msgspec.Struct, kw_only=True):
    """The body of POST /execute, as Vera's orchestrator sends it."""

    payload: _RawCall
    id: TaskId | None = None
    type: str | None = None
    timeout: Timeout | None = None
    priority: Priority | None = None


class Accepted(msgspec.Struct):
    """The answer to a submission."""

    status: Status
    task_id: str
    position: int | None


class RehearsedLimits(msgspec.Struct):
    """The limits that a task would run under."""

    priority: Priority
    timeout: float
    max_retries: int
    retry_delay: float
    memory_mb: float | None
    max_concurrency: int | None
    at_most_once: bool


class RehearsedTask(msgspec.Struct):
    """The answer to a submission that is only tried."""

    #: "queued" where it would be accepted; else how that very task stands, which was before.
    status: Status
    task_id: str
    position: int | None
    blocked_by: Blocked | None
    #: An estimate; None where it depends on what nobody knows.
    starts_in_s: float | None
    limits: RehearsedLimits


class FailureInShort(msgspec.Struct):
    """How an attempt failed; the rest is in the record."""

    cause: Cause
    type: str | None
    message: str


class EventOut(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that happened to a task."""

    task_id: str
    function: str
    status: Status
    attempt: int
    at: Time
    position: int | None = None
    progress: "ProgressOut | None" = None
    failure: FailureInShort | None = None


class ProgressOut(msgspec.Struct):
    """How far a running task says it is."""

    fraction: float | None
    message: str | None


class RecordOut(msgspec.Struct, kw_only=True):
    """A task and what became of it."""

    task_id: str
    status: Status
    payload: _RawCall
    priority: Priority
    queued_at: Time
    started_at: Time | None
    completed_at: Time | None
    result: Raw | None
    error: str | None
    attempt: int
    max_retries: int
    worker_id: str
    requirements: Requirements | None
    tags: tuple[str, ...]
    depends_on: tuple[str, ...]
    metadata: Raw | None
    retry_of: str | None
    progress: ProgressOut | None
    position: int | None
    blocked_by: Blocked | None
    failure: Failure | None


_HIDDEN_COLON: Final = re.compile(rb"\\u003a", re.IGNORECASE)

encode: Final = msgspec.json.Encoder().encode
decode_submission: Final = msgspec.json.Decoder(Submission).decode
decode_execution: Final = msgspec.json.Decoder(Execution).decode
decode_call: Final = msgspec.json.Decoder(Call).decode
decode_filter: Final = msgspec.json.Decoder(Filter).decode
decode_array: Final = msgspec.json.Decoder(list[Raw]).decode
decode_any: Final = msgspec.json.Decoder().decode


def decoded(decode: Callable[[bytes | Raw], T], data: bytes | Raw, within: str = "") -> T:
    """Return what `data` says; raise a Problem that names the field at fault.

    `within` is the field of the request that `data` is the value of.
    """
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        raise _misfit(str(error), within) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        where = f"{within}: " if within else ""
        raise Problem(400, f"{where}this is not JSON: {error}", field=within or None) from error
    except RecursionError:
        raise too_deep() from None


def too_deep() -> Problem:
    """Return what to say of lists in lists in lists, which no reader here follows to their end."""
    return Problem(422, "the body is nested too deeply")


def _misfit(said: str, within: str) -> Problem:
    """Return what msgspec says of a value that does not fit, in words for who sent it."""
    for rule, words in _RULES.items():
        said = said.replace(rule, words)
    message, _, path = said.partition(" - at ")
    field = within + path.strip("`").removeprefix("$" if within else "$.")
    if found := _FIELD.fullmatch(message):
        name = found["name"]
        field = f"{field}.{name}" if field else name
        message = "this is missing" if found["missing"] else "there is no such field"
    elif message.startswith(_NO_CHOICE) and field in _CHOICES:
        message = f"one of {', '.join(_CHOICES[field])} is expected"
    return Problem(422, f"{field}: {message}" if field else message, field=field or None)


def refuse_twin_keys(data: bytes) -> None:
    """Raise a Problem where an object has a key twice: readers differ on which of the two counts.

    `data` is known to be JSON.
    """
    kept = encode(decode_any(data))
    if kept.count(b":") == data.count(b":") and not _HIDDEN_COLON.search(data):
        return  # as many pairs as before: none was lost
    json.loads(data, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise Problem(422, f"{key}: an object has this key {count} times", field=key)


def record_out(
    record: Record,
    worker_id: str,
    *,
    progress: Progress | None = None,
    position: int | None = None,
    blocked_by: Blocked | None = None,
) -> RecordOut:
    """Return a record as clients see it."""
    task, failure = record.task, record.failure
    return RecordOut(
        task_id=task.task_id,
        status=record.status,
        payload=Raw(task.payload),
        priority=task.priority,
        queued_at=_time(task.queued_at),
        started_at=_time_or_none(record.started_at),
        completed_at=_time_or_none(record.completed_at),
        result=None if record.result is None else Raw(record.result),
        error=_sentence(failure) if failure is not None and record.ended else None,
        attempt=max(record.attempt, 1),
        max_retries=task.max_retries,
        worker_id=worker_id,
        requirements=task.requirements,
        tags=task.tags,
        depends_on=task.depends_on,
        metadata=None if task.metadata is None else Raw(task.metadata),
        retry_of=task.retry_of,
        progress=None if progress is None else ProgressOut(progress.fraction, progress.message),
        position=position,
        blocked_by=blocked_by,
        failure=failure,
    )


def event_out(event: TaskEvent) -> EventOut:
    """Return an event as clients see it."""
    progress, failure = event.progress, event.failure
    short = (
        None if failure is None else FailureInShort(failure.cause, failure.type, failure.message)
    )
    return EventOut(
        task_id=event.task_id,
        function=event.function,
        status=event.status,
        attempt=event.attempt,
        at=_time(event.at),
        position=event.position,
        progress=None if progress is None else ProgressOut(progress.fraction, progress.message),
        failure=short,
    )


def _sentence(failure: Failure) -> str:
    if failure.type is None or failure.type == failure.message:
        return failure.message
    return f"{failure.type}: {failure.message}"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
