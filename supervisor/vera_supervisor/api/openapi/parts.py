"""The words that operations are described in."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from vera_supervisor.api.paced_body import NDJSON
from vera_supervisor.api.requests import FLAGS

JSON: Final = "application/json"
TEXT: Final = "text/plain"
HTML: Final = "text/html"
EVENTS: Final = "text/event-stream"

#: A struct, or a JSON schema that no struct stands for.
Shape = type[Any] | Mapping[str, Any]

ANY_TEXT: Final[Shape] = {"type": "string"}
ANY_OBJECT: Final[Shape] = {"type": "object"}
_FLAG: Final = {"type": "string", "enum": list(FLAGS), "default": "0"}


class Parameter(NamedTuple):
    """Something that a request may say beside its body."""

    name: str
    says: str
    schema: Mapping[str, Any]
    place: str = "query"


class Body(NamedTuple):
    """What a request may carry, by media type."""

    says: str
    content: Mapping[str, Shape]
    example: Any


class Answer(NamedTuple):
    """What is answered when it went well, or as well as it could."""

    says: str
    content: dict[str, Shape]
    #: One such answer; None: there is nothing in it.
    example: Any = None
    #: Whether a Location header names the task.
    located: bool = False


class Operation(NamedTuple):
    """One method of one route."""

    name: str
    summary: str
    answers: Mapping[int, Answer]
    #: Problems that are its own; those that any request can meet are not named.
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    description: str = ""


class Section(NamedTuple):
    """Operations that belong together, by method and route."""

    name: str
    says: str
    operations: Mapping[tuple[str, str], Operation]


def flag(name: str, says: str) -> Parameter:
    """Return a parameter that is set or not."""
    return Parameter(name, says, _FLAG)


def seconds(name: str, says: str) -> Parameter:
    """Return a parameter that is a duration."""
    return Parameter(name, says, {"type": "number", "minimum": 0, "default": 0})


def text(name: str, says: str, **rules: Any) -> Parameter:
    """Return a parameter that is a text under some rules."""
    return Parameter(name, says, {"type": "string"} | rules)


def as_json(shape: Shape, says: str, example: Any, *, located: bool = False) -> Answer:
    """Return an answer of JSON."""
    return Answer(says, {JSON: shape}, example, located)


def json_body(shape: Shape, says: str, example: Any) -> Body:
    """Return a body of JSON."""
    return Body(says, {JSON: shape}, example)


def lines(of_one: Shape) -> dict[str, Shape]:
    """Return what is a JSON array, or else lines of NDJSON."""
    return {JSON: of_one, NDJSON: ANY_TEXT}
