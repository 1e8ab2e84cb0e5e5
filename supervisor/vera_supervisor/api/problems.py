"""The only table from errors to HTTP answers: RFC 9457 problems, one sentence each."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec
from quart import Response

from vera_supervisor.scheduling.effects import Refusal

MEDIA_TYPE = "application/problem+json"

#: status -> (last part of the type, title)
KINDS = {
    400: ("bad-request", "The request cannot be understood"),
    401: ("unauthorized", "A token is needed"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    408: ("request-timeout", "The request took too long"),
    409: ("conflict", "Conflict"),
    410: ("gone", "Ended and expired"),
    413: ("too-large", "Too large"),
    415: ("unsupported-media-type", "Unsupported media type"),
    421: ("misdirected", "This host is not served here"),
    422: ("unacceptable", "Well-formed, but not acceptable"),
    429: ("queue-full", "The queue is full"),
    431: ("headers-too-large", "The headers are too large"),
    500: ("internal-error", "A fault of the worker"),
    503: ("unavailable", "Not available now"),
}

STATUS_OF_REFUSAL = {
    Refusal.QUEUE_FULL: 429,
    Refusal.DRAINING: 503,
    Refusal.STORE: 503,
    Refusal.CONFLICT: 409,
    Refusal.DEPENDENCY: 422,
    Refusal.IMPOSSIBLE: 422,
    Refusal.TOO_LATE: 409,
}


class Problem(Exception):
    """An answer that is not what the client asked for."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        #: The field of the request that is at fault.
        self.field = field
        #: What belongs to the status, such as Allow to a 405.
        self.headers = dict(headers or {})
        if retry_after is not None:  # whole seconds after which it is worth trying again
            self.headers["retry-after"] = str(retry_after)


class ProblemOut(msgspec.Struct, omit_defaults=True):
    """Why a request was not carried out: a problem as in RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    field: str | None = None


class LineProblem(ProblemOut, kw_only=True):
    """Why one of many submissions was refused: with its line, and what headers say otherwise."""

    code: int
    line: int
    retry_after: int | None = None


def new_request_id() -> str:
    """Return what names one request in an answer and in the log."""
    return os.urandom(8).hex()


def body_of(problem: Problem, request_id: str) -> bytes:
    """Return the problem as JSON."""
    return msgspec.json.encode(ProblemOut(**_said(problem, request_id)))


def line_of(problem: Problem, request_id: str, line: int) -> bytes:
    """Return as JSON what is wrong with line number `line` of a request, from 1."""
    retry_after = problem.headers.get("retry-after")
    return msgspec.json.encode(
        LineProblem(
            **_said(problem, request_id),
            code=problem.status,
            line=line,
            retry_after=None if retry_after is None else int(retry_after),
        )
    )


def _said(problem: Problem, request_id: str) -> dict[str, Any]:
    kind, title = KINDS[problem.status]
    return {
        "type": f"urn:vera-worker:{kind}",
        "title": title,
        "status": problem.status,
        "detail": problem.detail.encode("utf-8", "backslashreplace").decode(),
        "request_id": request_id,
        "field": problem.field,
    }


def headers_of(problem: Problem) -> Mapping[str, str]:
    """Return the headers that go with it."""
    return {"content-type": MEDIA_TYPE, "x-content-type-options": "nosniff"} | problem.headers


def respond(problem: Problem, request_id: str | None = None) -> Response:
    """Return the answer for a problem."""
    body = body_of(problem, request_id or new_request_id())
    return Response(body, status=problem.status, headers=dict(headers_of(problem)))
