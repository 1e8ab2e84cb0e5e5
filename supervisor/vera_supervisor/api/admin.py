"""The routes that rule the worker: drain, resume, reload, and the configuration in force."""

from quart import Quart, Response

from vera_supervisor.api.answers import (
    ChangeOut,
    Draining,
    FunctionChanges,
    Reloaded,
    Resumed,
)
from vera_supervisor.api.problems import Problem
from vera_supervisor.api.responses import json_response
from vera_supervisor.api.services import Services
from vera_supervisor.config import explained
from vera_supervisor.reloading import CANNOT_RELOAD, NeedsRestart
from vera_supervisor.scheduling import events as ev


def add_routes(app: Quart, services: Services) -> None:
    """Add the routes."""
    dispatcher, scheduler = services.dispatcher, services.dispatcher.scheduler

    @app.post("/admin/drain")
    async def drain() -> Response:
        dispatcher.post(ev.DrainAsked())
        return json_response(Draining(scheduler.running))

    @app.post("/admin/resume")
    async def resume() -> Response:
        dispatcher.post(ev.ResumeAsked())
        return json_response(Resumed(services.health().state))

    @app.post("/admin/reload")
    async def reload() -> Response:
        try:
            done = await services.reloader.reload()
        except NeedsRestart as error:
            raise Problem(409, str(error)) from error
        except CANNOT_RELOAD as error:
            raise Problem(422, f"not reloaded, nothing was changed: {error}") from error
        changes = [ChangeOut(c.key, c.old, c.new) for c in done.changes]
        return json_response(Reloaded(changes, FunctionChanges(*done.functions)))

    @app.get("/admin/config")
    async def configuration() -> Response:
        return json_response(explained(services.config))
