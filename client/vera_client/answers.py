"""From an HTTP answer to a value or an error; nothing here does I/O."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import msgspec

from vera_client.errors import ApiProblem, NotAllowed, Refused, StrangeAnswer
from vera_client.records import TaskRecord

T = TypeVar("T")

#: What became of one task of many.
Outcome: TypeAlias = TaskRecord | ApiProblem

_NOT_ALLOWED = frozenset({401, 403, 421})
_NOT_NOW = frozenset({429, 503})
_REDIRECTED = 300
_FAULTY = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Problem(msgspec.Struct):
    type: str = ""
    title: str = ""
    detail: str = ""
    request_id: str = ""
    field: str | None = None
    retry_after: int = 1


class _Code(msgspec.Struct):
    code: int


def checked(answer: Answer, also: AbstractSet[int] = frozenset()) -> Answer:
    """Return `answer` if it is 2xx or one of `also`; else raise what it stands for."""
    if answer.status < _REDIRECTED or answer.status in also:
        return answer
    if answer.status < _FAULTY:
        where = answer.headers.get("location", "elsewhere")
        raise StrangeAnswer(f"the worker's address leads on to {where}; use that one")
    raise _problem(answer)


def as_json(kind: type[T]) -> Callable[[Answer], T]:
    """Return a reader of JSON answers of one type."""
    decode = msgspec.json.Decoder(kind).decode

    def read(answer: Answer) -> T:
        try:
            return decode(answer.body)
        except msgspec.MsgspecError as error:
            raise StrangeAnswer(
                f"what answers there is no vera-worker, or one of another version: {error}"
            ) from error

    return read


def as_outcomes(answer: Answer) -> list[Outcome]:
    """Read one line per task: how it stands, or why it was not taken."""
    return [_outcome(line) for line in answer.body.splitlines()]


def _outcome(line: bytes) -> Outcome:
    code = as_json(_Code)(Answer(200, {}, line)).code
    if code < _REDIRECTED:
        return _read_record(Answer(code, {}, line))
    return _problem(Answer(code, {"retry-after": str(_retry_after(line))}, line))


def _retry_after(line: bytes) -> int:
    return msgspec.json.decode(line, type=_Problem).retry_after


def as_object(answer: Answer) -> dict[str, Any]:
    """Read a JSON object whose members are open."""
    return _read_object(answer)


def as_text(answer: Answer) -> str:
    """Read text."""
    return answer.body.decode(errors="replace")


def as_success(answer: Answer) -> bool:
    """Tell whether the answer was 2xx, whatever it says."""
    return answer.status < _REDIRECTED


def _problem(answer: Answer) -> ApiProblem:
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
    except msgspec.MsgspecError:  # a proxy's page, say
        problem = _Problem()
    error: type[ApiProblem] = ApiProblem
    if answer.status in _NOT_NOW:
        error = Refused
    elif answer.status in _NOT_ALLOWED:
        error = NotAllowed
    raised = error(
        answer.status,
        problem.detail or problem.title or f"the worker answered with HTTP {answer.status}",
        kind=problem.type,
        request_id=problem.request_id,
        field=problem.field,
    )
    if isinstance(raised, Refused):
        raised.retry_after = _seconds(answer.headers.get("retry-after", ""))
    return raised


def _seconds(retry_after: str) -> float:
    """Read a Retry-After; a date, or nothing, is one second."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 1.0


_read_record = as_json(TaskRecord)
_read_object = as_json(dict[str, Any])
