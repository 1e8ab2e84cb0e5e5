"""The OpenAPI 3.1 document: operations in words, shapes from the very types that are encoded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from vera_supervisor.api import guard
from vera_supervisor.api.openapi import examples
from vera_supervisor.api.openapi.glossary import MEANINGS
from vera_supervisor.api.openapi.operations import SECTIONS
from vera_supervisor.api.openapi.parts import Answer, Body, Operation, Parameter
from vera_supervisor.api.problems import KINDS, MEDIA_TYPE, ProblemOut
from vera_supervisor.api.schemas import Call, TaskId
from vera_worker import __version__

_ABOUT: Final = """\
Times are ISO 8601 in UTC, durations seconds. Every error is `application/problem+json`: `detail` \
is one sentence that says what to do, `field` names what is at fault in the request, `request_id` \
is what to look for in the worker's log. 429 and 503 say in `Retry-After` when to try again.

Where the worker has a token, send `Authorization: Bearer <token>`. Bound to loopback and without \
a token, the API is open to its machine."""
_HEADERS: Final = {
    401: {"WWW-Authenticate": "How to come in: `Bearer`."},
    405: {"Allow": "The methods that are taken here."},
    429: {"Retry-After": "Seconds after which it is worth trying again."},
    503: {"Retry-After": "Seconds after which it is worth trying again."},
}
#: What any request can be answered with (503: all connections are in use, too much is being read
#: by others, or the store cannot be read), and what also where a token is needed.
_ALWAYS: Final = (400, 403, 421, 431, 503)
_WITH_TOKEN: Final = (401,)
#: Shapes that no answer has as a whole, but that are told of.
_BESIDES: Final = (Call, ProblemOut)


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, Any] = {}
    for section in SECTIONS:
        for (method, path), operation in section.operations.items():
            described = _operation(operation, method, path, section.name)
            paths.setdefault(path, {})[method.lower()] = described
    shapes = list(dict.fromkeys((*_types_in(paths), *_BESIDES)))
    references, components = msgspec.json.schema_components(
        shapes, ref_template="#/components/schemas/{name}"
    )
    found = {
        "openapi": "3.1.0",
        "info": {
            "title": "vera-worker",
            "version": __version__,
            "summary": "A task-execution node: REST in, isolated execution, result out.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": section.name, "description": section.says} for section in SECTIONS],
        "paths": paths,
        "components": {
            "schemas": {
                _public(name): _explained(_public(name), shape)
                for name, shape in sorted(components.items())
            },
            "responses": {_name(status): _problem(status) for status in sorted(KINDS)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    plain: dict[str, Any] = _plain(found, dict(zip(shapes, references, strict=True)))
    return plain


def _operation(operation: Operation, method: str, path: str, tag: str) -> dict[str, Any]:
    is_open = path in guard.OPEN_PATHS
    needed = () if is_open else _WITH_TOKEN
    scope = guard.scope_of({"method": method, "path": path})
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [tag],
        "security": [] if is_open else [{"token": [scope]}],
        "responses": {
            str(status): _answer(status, answer)
            for status, answer in sorted(operation.answers.items())
        }
        | {
            str(status): {"$ref": f"#/components/responses/{_name(status)}"}
            for status in sorted({*_ALWAYS, *needed, *operation.problems} - set(operation.answers))
        },
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [_parameter(parameter) for parameter in operation.parameters]
    if "{task_id}" in path:
        parameters.insert(0, _parameter(Parameter("task_id", "The task's id.", {}, "path")))
        parameters[0] |= {"required": True, "schema": TaskId}
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = _body(operation.body)
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.says,
        "schema": parameter.schema,
    }


def _body(body: Body) -> dict[str, Any]:
    content = {media_type: {"schema": shape} for media_type, shape in body.content.items()}
    first: dict[str, Any] = next(iter(content.values()))
    first["example"] = body.example
    return {"description": body.says, "required": True, "content": content}


def _answer(status: int, answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.says}
    if answer.located:
        described["headers"] = {
            "Location": {"description": "The path of the task.", "schema": {"type": "string"}}
        }
        described["links"] = {
            name: {"operationId": name, "parameters": {"task_id": "$response.body#/task_id"}}
            for name in ("look", "cancel", "output", "retry")
        }
    content = answer.content | ({MEDIA_TYPE: ProblemOut} if status in _ALWAYS else {})
    if content:
        described["content"] = {
            media_type: {"schema": shape} for media_type, shape in content.items()
        }
        if answer.example is not None:
            next(iter(described["content"].values()))["example"] = answer.example
    return described


def _problem(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": f"{KINDS[status][1]}.",
        "content": {MEDIA_TYPE: {"schema": ProblemOut}},
    }
    if status == examples.PROBLEM["status"]:
        described["content"][MEDIA_TYPE]["example"] = examples.PROBLEM
    if status in _HEADERS:
        described["headers"] = {
            name: {"description": says, "schema": {"type": "string"}}
            for name, says in _HEADERS[status].items()
        }
    return described


def _name(status: int) -> str:
    kind, _ = KINDS[status]
    return "".join(word.capitalize() for word in kind.split("-"))


def _explained(name: str, shape: dict[str, Any]) -> dict[str, Any]:
    """Say of every field what it means."""
    if "properties" not in shape:
        return shape
    fields = {}
    for field, schema in shape["properties"].items():
        meaning = MEANINGS.get(f"{name}.{field}", MEANINGS.get(field, ""))
        fields[field] = {"description": meaning} | schema
    return shape | {"properties": fields}


def _types_in(part: Any) -> Iterator[Any]:
    if isinstance(part, Mapping):
        for value in part.values():
            yield from _types_in(value)
    elif isinstance(part, Sequence) and not isinstance(part, str):
        for value in part:
            yield from _types_in(value)
    elif part is TaskId or isinstance(part, type):
        yield part


def _plain(part: Any, references: Mapping[Any, Any]) -> Any:
    """Return the document as JSON has it: types by reference, and under their public names."""
    if isinstance(part, Mapping):
        return {
            str(key): _REWRITTEN[key](value)
            if key in _REWRITTEN and isinstance(value, str)
            else _plain(value, references)
            for key, value in part.items()
        }
    if isinstance(part, str):
        return str(part)
    if isinstance(part, Sequence):
        return [_plain(value, references) for value in part]
    return _plain(references[part], references) if part in references else part


def _public(name: str) -> str:
    """`RecordOut` is `Record` to clients."""
    return name.removesuffix("Out")


def _for_all(pattern: str) -> str:
    """Other languages than ours do not know how it writes the ends of a text."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


_REWRITTEN: Final[Mapping[str, Callable[[str], str]]] = {
    "$ref": _public,
    "title": _public,
    "pattern": _for_all,
}
