"""The routes that tell of the others: the OpenAPI document, its page, and where to begin."""

from functools import cache
from typing import Final

import anyio.to_thread
from msgspec import Raw
from quart import Quart, Response

from vera_supervisor.api.openapi.document import document
from vera_supervisor.api.openapi.page import HEADERS, api_page, index_page
from vera_supervisor.api.responses import json_response
from vera_supervisor.api.schemas import encode
from vera_supervisor.api.services import Services
from vera_worker import __version__

_LINKS: Final = (
    ("/docs", "how to use it: every route, field and problem"),
    ("/openapi.json", "the same for programs"),
    ("/health", "how it stands"),
    ("/functions", "what can be called"),
    ("/tasks", "its tasks, newest first"),
    ("/metrics", "what it counts; `/metrics/prometheus` for Prometheus"),
)


def add_routes(app: Quart, services: Services) -> None:
    """Add the routes."""

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return json_response(await anyio.to_thread.run_sync(rendered_document))

    @app.get("/docs")
    async def docs() -> Response:
        return Response(await anyio.to_thread.run_sync(rendered_page), headers=HEADERS)

    @app.get("/")
    async def index() -> Response:
        page = index_page(services.config.worker.id, __version__, _LINKS)
        return Response(page, headers=HEADERS)


@cache
def rendered_document() -> Raw:
    """Return the document as JSON; it takes tens of milliseconds, once."""
    return Raw(encode(document()))


@cache
def rendered_page() -> bytes:
    """Return its page."""
    return api_page(document())
