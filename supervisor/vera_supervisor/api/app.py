"""The Quart application: all routes, and one form for every error."""

import logging
from collections.abc import Callable, Iterable

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from vera_supervisor.api import admin, batches, bulk, documents, events, orchestrator, system, tasks
from vera_supervisor.api.counted_body import BodyRoom
from vera_supervisor.api.paced_body import ANSWER_ROOM, BODY_ROOM, PacedConnection
from vera_supervisor.api.problems import Problem, new_request_id, respond
from vera_supervisor.api.services import Services
from vera_supervisor.store.protocol import StoreUnavailable

log = logging.getLogger(__name__)

_CLIENT_ERRORS = range(400, 500)


def create_app(services: Services) -> Quart:
    """Return the application for a running worker."""
    app = Quart("vera_supervisor", static_folder=None)
    app.asgi_http_class = PacedConnection
    app.extensions[BODY_ROOM] = BodyRoom(services.config.limits.max_bodies)
    app.extensions[ANSWER_ROOM] = BodyRoom(services.config.limits.max_answers)
    app.config["MAX_CONTENT_LENGTH"] = services.config.limits.max_body
    app.config["BODY_TIMEOUT"] = services.config.server.body_timeout
    # Who reads has as long as it takes: server.send_timeout is for each piece.
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.merge_slashes = False  # it would redirect
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    for module in (tasks, batches, bulk, events, system, admin, orchestrator, documents):
        module.add_routes(app, services)

    @app.errorhandler(Problem)
    async def problem(error: Problem) -> Response:
        return respond(error)

    @app.errorhandler(StoreUnavailable)
    async def unreadable(error: StoreUnavailable) -> Response:
        wait_s = services.dispatcher.retry_after()
        return respond(Problem(503, str(error), retry_after=wait_s))

    @app.errorhandler(HTTPException)
    async def refused(error: HTTPException) -> Response:
        return respond(_from_werkzeug(error, services))

    @app.errorhandler(Exception)
    async def broken(error: Exception) -> Response:
        request_id = new_request_id()
        log.error("request %s: %s %s", request_id, request.method, request.path, exc_info=error)
        return respond(Problem(500, f"a fault of the worker; its log has {request_id}"), request_id)

    return app


def methods_of(app: Quart) -> Callable[[str], Iterable[str]]:
    """Return what tells which methods the route of a path takes."""
    return app.url_map.bind("").allowed_methods


def _from_werkzeug(error: HTTPException, services: Services) -> Problem:
    match error.code:
        case 404:
            return Problem(404, f"there is nothing at {request.path!r}")
        case 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
            detail = f"{request.method} is not for {request.path!r}; send one of {allowed}"
            return Problem(405, detail, headers={"allow": allowed})
        case 408:
            return Problem(408, "the body did not arrive in time")
        case 413:
            limit = services.config.limits.max_body
            return Problem(413, f"a body has at most limits.max_body = {limit} bytes")
        case code if code in _CLIENT_ERRORS:
            return Problem(400, error.description or "the request cannot be understood")
        case _:
            return Problem(500, "a fault of the worker")
