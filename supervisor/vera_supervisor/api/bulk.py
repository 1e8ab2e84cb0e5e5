"""Many tasks at once: cancel those that have not ended, forget those that have."""

import asyncio
from typing import Final

from quart import Quart, Response

from vera_supervisor.api.answers import Cancelled, Purged
from vera_supervisor.api.problems import Problem
from vera_supervisor.api.requests import json_body
from vera_supervisor.api.responses import json_response
from vera_supervisor.api.schemas import Filter, decode_filter, decoded, refuse_twin_keys
from vera_supervisor.api.services import Services
from vera_supervisor.scheduling import events as ev
from vera_supervisor.store.protocol import Query
from vera_worker.lifecycle import TERMINAL, Status
from vera_worker.tasks import Record

#: Tasks that are cancelled before others of the worker's clients get their turn, and before all
#: ends so far have to be stored: a commit costs the same for few of them as for many.
_AT_ONCE: Final = 64
_UNSTORED: Final = 1024


def add_routes(app: Quart, services: Services) -> None:
    """Add the routes."""

    @app.post("/tasks/cancel")
    async def cancel_many() -> Response:
        which = await _filter(frozenset(Status) - TERMINAL)
        return json_response(await _cancel(services, which))

    @app.post("/tasks/purge")
    async def purge() -> Response:
        which = await _filter(TERMINAL)
        status = None if which.status is None else Status(which.status)
        query = Query(status=status, function=which.function, tag=which.tag)
        return json_response(Purged(await services.store.forget(query)))


async def _filter(statuses: frozenset[Status]) -> Filter:
    body = await json_body()
    which = decoded(decode_filter, body)
    refuse_twin_keys(body)
    said = which.status is not None or which.function is not None or which.tag is not None
    if said == which.all:
        raise Problem(422, 'give status, function or tag, or else {"all": true}')
    if which.status is not None and which.status not in statuses:
        known = ", ".join(status for status in Status if status in statuses)
        raise Problem(422, f"status: one of {known} is expected", field="status")
    return which


async def _cancel(services: Services, which: Filter) -> Cancelled:
    """Cancel what matches."""
    dispatcher = services.dispatcher
    live = dispatcher.scheduler.live
    matching = [
        task_id
        for task_id, task in live.items()
        if task.added
        and which.status in (None, task.told)
        and which.function in (None, task.task.function)
        and (which.tag is None or which.tag in task.task.tags)
    ]
    cancelled = stopping = 0
    ends: list[asyncio.Future[Record | None]] = []
    for start in range(0, len(matching), _AT_ONCE):
        for task_id in matching[start : start + _AT_ONCE]:
            task = live.get(task_id)
            if task is None or which.status not in (None, task.told):
                continue  # it has ended meanwhile, or has begun
            if task.told is Status.RUNNING:
                stopping += 1
            else:
                cancelled += 1
                ends.append(dispatcher.journal.expect_end(task_id))
            dispatcher.post(ev.CancelAsked(task_id))
        if len(ends) >= _UNSTORED:
            await asyncio.gather(*ends)
            ends.clear()
        await asyncio.sleep(0)
    await asyncio.gather(*ends)
    return Cancelled(cancelled, stopping)
