"""The document as it is read: flat rows of words, from which a page or a file is written."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from vera_supervisor.api.problems import MEDIA_TYPE

_BOUNDS: Final = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {}",
}


class Row(NamedTuple):
    """A parameter, or a field of a shape."""

    name: str
    kind: str
    needed: bool
    says: str


class Answer(NamedTuple):
    """What can be answered; `kinds` by media type."""

    status: str
    says: str
    kinds: Mapping[str, str]
    #: Empty where there is none.
    example: str


class Route(NamedTuple):
    """One operation."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    #: What a token must be for; empty where none is needed.
    scope: str
    parameters: list[Row]
    #: By media type.
    body: Mapping[str, str]
    example: str
    answers: list[Answer]
    #: Statuses of problems, less those that any request can meet.
    problems: list[str]


class Section(NamedTuple):
    """Operations that belong together."""

    name: str
    says: str
    routes: list[Route]


class Shape(NamedTuple):
    """A named object, or a named set of words."""

    name: str
    says: str
    rows: list[Row]
    words: list[str]


def sections(document: Mapping[str, Any]) -> list[Section]:
    """Return all operations, in the order of the document."""
    return [
        Section(tag["name"], tag["description"], list(_routes(document, tag["name"])))
        for tag in document["tags"]
    ]


def usual_problems(document: Mapping[str, Any]) -> list[str]:
    """Return the statuses of problems that any request can meet, if it needs a token."""
    met = [
        {status for status, response in operation["responses"].items() if "$ref" in response}
        for methods in document["paths"].values()
        for operation in methods.values()
        if operation["security"]
    ]
    return sorted(set.intersection(*met))


def shapes(document: Mapping[str, Any]) -> list[Shape]:
    """Return all named shapes."""
    return [
        Shape(name, shape["description"], list(_rows(shape)), list(shape.get("enum", ())))
        for name, shape in document["components"]["schemas"].items()
    ]


def kind_of(schema: Mapping[str, Any]) -> str:
    """Return in words what a schema takes."""
    match schema:
        case {"$ref": reference}:
            kind = str(reference).rpartition("/")[2]
        case {"anyOf": options}:
            kind = " or ".join(dict.fromkeys(kind_of(option) for option in options))
        case {"allOf": [of, *_]}:
            kind = f"{kind_of(of)} with its `code`"
        case {"enum": words}:
            kind = " or ".join(f"`{word}`" for word in words)
        case {"type": "array"}:
            kind = f"list of {kind_of(schema.get('items', {}))}"
        case {"type": "object", "additionalProperties": dict(of)} if of:
            kind = f"object of {kind_of(of)}"
        case {"format": "date-time"}:
            kind = "time"
        case _:
            kind = schema.get("type", "any JSON")
    return kind + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    told = [words.format(f"{schema[key]:,}") for key, words in _BOUNDS.items() if key in schema]
    return "".join(f", {words}" for words in told)


def _rows(shape: Mapping[str, Any]) -> Iterator[Row]:
    needed = shape.get("required", ())
    for name, schema in shape.get("properties", {}).items():
        yield Row(name, kind_of(schema), name in needed, schema["description"])


def _routes(document: Mapping[str, Any], tag: str) -> Iterator[Route]:
    usual = usual_problems(document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield _route(method.upper(), path, operation, usual)


def _route(method: str, path: str, operation: Mapping[str, Any], usual: Sequence[str]) -> Route:
    answers, refused = [], []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            refused += [status] if status not in usual else []
        else:
            answers.append(
                Answer(status, response["description"], _kinds(response), _example(response))
            )
    body = operation.get("requestBody", {})
    return Route(
        anchor=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        scope="".join(scope for way in operation["security"] for scope in way["token"]),
        parameters=[
            Row(
                parameter["name"],
                kind_of(parameter["schema"]),
                parameter.get("required", False),
                parameter["description"],
            )
            for parameter in operation.get("parameters", ())
        ],
        body=_kinds(body),
        example=_example(body),
        answers=answers,
        problems=refused,
    )


def _example(part: Mapping[str, Any]) -> str:
    for content in part.get("content", {}).values():
        if "example" in content:
            example = content["example"]
            return example.strip() if isinstance(example, str) else json.dumps(example)
    return ""


def _kinds(part: Mapping[str, Any]) -> dict[str, str]:
    return {
        media_type: kind_of(content["schema"])
        for media_type, content in part.get("content", {}).items()
        if media_type != MEDIA_TYPE
    }
