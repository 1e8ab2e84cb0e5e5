"""The route of many submissions: a JSON array, or NDJSON both ways."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from quart import Quart, Response, request

from vera_supervisor.api.intake import Intake
from vera_supervisor.api.lines import Line, Splitter
from vera_supervisor.api.paced_body import NDJSON, PacedBody
from vera_supervisor.api.problems import Problem, new_request_id
from vera_supervisor.api.requests import json_body, query_number, query_text
from vera_supervisor.api.schemas import decode_array, decoded
from vera_supervisor.api.services import Services

_JSON: Final = "application/json"
_ON_FULL: Final = ("wait", "reject")


def add_routes(app: Quart, services: Services) -> None:
    """Add the route."""
    max_bytes = services.config.limits.max_body

    @app.post("/tasks")
    async def submit_many() -> Response:
        on_full = query_text("on_full")
        if on_full not in (None, *_ON_FULL):
            raise Problem(422, "on_full: wait or reject is expected", field="on_full")
        intake = Intake(
            services,
            new_request_id(),
            wait_s=query_number("wait", 0.0, services.config.server.max_wait),
            reject=on_full == "reject",
        )
        if request.mimetype == NDJSON:
            return _streamed(_as_lines(intake, await _pieces(), max_bytes), NDJSON)
        elements = decoded(decode_array, await json_body(also=NDJSON))
        return _streamed(_as_array(intake, [bytes(element) for element in elements]), _JSON)


async def _pieces() -> AsyncIterator[bytes]:
    """Return the body, piece by piece; one that is small enough is read whole first.

    Then a client that reads no answer before all is sent can be answered on a connection that
    lives on.
    """
    body = request.body
    if isinstance(body, PacedBody):
        return body
    return _one(await request.get_data(cache=False, as_text=False))


async def _one(item: Any) -> AsyncIterator[Any]:
    yield item


async def _split(pieces: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[Sequence[Line]]:
    splitter = Splitter(max_bytes)
    async for piece in pieces:
        yield splitter.feed(piece)
    yield splitter.end()


async def _as_lines(
    intake: Intake, pieces: AsyncIterator[bytes], max_bytes: int
) -> AsyncIterator[bytes]:
    async with aclosing(intake.answers(_split(pieces, max_bytes))) as answers:
        async for some in answers:
            some.append(b"")
            yield b"\n".join(some)


async def _as_array(intake: Intake, elements: list[bytes]) -> AsyncIterator[bytes]:
    lines = [Line(number, element) for number, element in enumerate(elements, 1)]
    before = b"["
    async with aclosing(intake.answers(_one(lines))) as answers:
        async for some in answers:
            yield before + b",".join(some)
            before = b","
    yield b"]" if lines else b"[]"


def _streamed(body: AsyncIterator[bytes], media_type: str) -> Response:
    headers = {"content-type": media_type, "x-content-type-options": "nosniff"}
    response = Response(body, headers=headers)
    response.timeout = None  # it takes as long as the client has tasks
    return response
