"""Writes answers."""

from collections.abc import Mapping
from typing import Any

from quart import Response

from vera_supervisor.api.schemas import encode

_HEADERS = {"content-type": "application/json", "x-content-type-options": "nosniff"}


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `body`, anything that msgspec encodes, as an answer."""
    merged = _HEADERS if headers is None else {**_HEADERS, **headers}
    return Response(encode(body), status=status, headers=merged)
