"""The API as a file of Markdown: `make api-docs` writes docs/API.md."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vera_supervisor.api.openapi.reading import Route, Row, sections, shapes, usual_problems
from vera_supervisor.api.problems import KINDS


def markdown(document: Mapping[str, Any]) -> str:
    """Return the whole API as Markdown."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield "# The API"
    yield ""
    yield "Made from the worker's OpenAPI document (`GET /openapi.json`) by `make api-docs`."
    yield ""
    yield info["description"]
    for section in sections(document):
        yield ""
        yield f"## {section.name}"
        yield ""
        yield section.says
        for route in section.routes:
            yield from _route(route)
    yield ""
    yield "## Problems"
    yield ""
    yield f"Any request can meet {', '.join(usual_problems(document))}."
    yield ""
    yield from _table(("status", ""), ((str(code), kind[1]) for code, kind in KINDS.items()))
    yield ""
    yield "## Shapes"
    for shape in shapes(document):
        yield ""
        yield f"### {shape.name}"
        yield ""
        yield shape.says
        if shape.words:
            yield ""
            yield ", ".join(f"`{word}`" for word in shape.words)
        if shape.rows:
            yield ""
            yield from _rows(shape.rows)


def _route(route: Route) -> Iterator[str]:
    yield ""
    yield f"### `{route.method} {route.path}`"
    yield ""
    needs = f"Needs a token for `{route.scope}`." if route.scope else "Needs no token."
    yield " ".join(filter(None, (f"{route.summary}.", route.description, needs)))
    if route.parameters:
        yield ""
        yield from _rows(route.parameters)
    if route.body:
        yield ""
        yield "Body: " + "; ".join(f"`{media}` {kind}" for media, kind in route.body.items())
        yield from _block(route.example)
    yield ""
    answers = (
        (answer.status, answer.says, "; ".join(dict.fromkeys(answer.kinds.values())))
        for answer in route.answers
    )
    yield from _table(("answer", "", ""), answers)
    for answer in route.answers:
        if answer.example:
            yield ""
            yield f"For example, {answer.status}:"
            yield from _block(answer.example)
    if route.problems:
        yield ""
        yield f"Problems: {', '.join(route.problems)}."


def _block(example: str) -> Iterator[str]:
    yield ""
    yield "```json" if example[0] in "{[" else "```text"
    yield example
    yield "```"


def _rows(rows: Iterable[Row]) -> Iterator[str]:
    return _table(("name", "is", ""), map(_cells, rows))


def _cells(row: Row) -> tuple[str, str, str]:
    required = " (required)" if row.needed else ""
    return f"`{row.name}`", row.kind + required, row.says


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
