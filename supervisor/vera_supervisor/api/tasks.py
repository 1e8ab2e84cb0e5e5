"""The routes of tasks: submit, look, wait, cancel, read the output, list."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

from quart import Quart, Response

from vera_supervisor.access import Scope
from vera_supervisor.api.answers import PageOut
from vera_supervisor.api.follower import Follower
from vera_supervisor.api.problems import Problem
from vera_supervisor.api.rehearsal import rehearse
from vera_supervisor.api.requests import json_body, query_flag, query_number, query_text
from vera_supervisor.api.responses import json_response
from vera_supervisor.api.schemas import Accepted
from vera_supervisor.api.sender import SENDER
from vera_supervisor.api.services import Services
from vera_supervisor.api.submissions import read_submission, run_again, submitted
from vera_supervisor.scheduling.effects import Accept, Refuse
from vera_supervisor.store.protocol import Query
from vera_worker.lifecycle import Status
from vera_worker.tasks import Record, Task

#: How often the output of a running task is looked at for a client that follows it.
_FOLLOW_INTERVAL_S: Final = 0.1
_MAX_PAGE: Final = 1000
#: Pages that are built at once: each may take 16 MiB twice before it is an answer.
_PAGES_AT_ONCE: Final = 4


def add_routes(app: Quart, services: Services) -> None:  # noqa: C901 - a list of small handlers
    """Add the routes."""
    dispatcher = services.dispatcher
    max_wait_s = services.config.server.max_wait
    shown = services.shown
    pages = asyncio.Semaphore(_PAGES_AT_ONCE)

    @app.post("/task/submit")
    async def submit() -> Response:
        body = await json_body()
        wait_s = query_number("wait", 0.0, max_wait_s)
        task = await read_submission(body, services)
        if query_flag("dry_run"):
            return json_response(await rehearse(submitted(task, services), services))
        accept = await accepted(services, task)
        location = {"location": f"/task/{accept.task_id}"}
        if wait_s:
            record = await dispatcher.wait_ended(accept.task_id, wait_s)
            if record is not None:
                return json_response(shown(record), 200 if record.ended else 202, location)
        acceptance = Accepted(accept.status, accept.task_id, accept.position)
        return json_response(acceptance, 200 if accept.known else 202, location)

    @app.get("/task/<task_id>")
    async def look(task_id: str) -> Response:
        wait_s = query_number("wait", 0.0, max_wait_s)
        if wait_s:
            record = await dispatcher.wait_ended(task_id, wait_s)
        else:
            record = await dispatcher.records.get(task_id)
        return json_response(shown(services.found(record, task_id)))

    @app.delete("/task/<task_id>")
    async def cancel(task_id: str) -> Response:
        before = own(services.found(await dispatcher.records.get(task_id), task_id))
        if before.ended:
            raise Problem(409, f"task {task_id!r} has ended already: it is {before.status}")
        after = services.found(await dispatcher.cancel(task_id), task_id)
        if after.status is not Status.CANCELLED:
            raise Problem(409, f"task {task_id!r} ended before it was cancelled: {after.status}")
        return json_response(shown(after))

    @app.post("/task/<task_id>/retry")
    async def retry(task_id: str) -> Response:
        record = own(services.found(await dispatcher.records.get(task_id), task_id))
        if not record.ended:
            raise Problem(409, f"task {task_id!r} has not ended: it is {record.status}")
        accept = await accepted(services, run_again(record.task, services))
        acceptance = Accepted(accept.status, accept.task_id, accept.position)
        return json_response(acceptance, 202, {"location": f"/task/{accept.task_id}"})

    @app.get("/task/<task_id>/output")
    async def output(task_id: str) -> Response:
        printed = await dispatcher.output(task_id)
        if printed is None:
            raise services.unknown(task_id)
        follow = query_flag("follow")
        response = Response(
            _follow(services, task_id) if follow else printed,
            content_type="text/plain; charset=utf-8",
            headers={"x-content-type-options": "nosniff"},
        )
        response.timeout = None
        return response

    @app.get("/tasks")
    async def page() -> Response:
        query = _query()
        async with pages:
            found = await services.store.page(query)
            return json_response(PageOut([shown(record) for record in found.records], found.cursor))


def own(record: Record) -> Record:
    """Return the record of a task that is its sender's to change; raise a Problem."""
    if not SENDER.get().owns(record.task.client):
        what = f"task {record.task.task_id!r} was not submitted with this token"
        raise Problem(403, f"{what}: to change it needs one with the scope {Scope.ADMIN.value!r}")
    return record


def _query() -> Query:
    """Return which tasks a page is to show; raise a Problem."""
    status = query_text("status")
    if status is not None and status not in list(Status):
        raise Problem(422, f"status: one of {', '.join(Status)} is expected", field="status")
    cursor = query_text("cursor")
    if cursor is not None and not re.fullmatch("[0-9]{1,18}", cursor):
        raise Problem(422, "cursor: take it from the page before", field="cursor")
    return Query(
        status=None if status is None else Status(status),
        function=query_text("function"),
        tag=query_text("tag"),
        limit=int(query_number("limit", 100, _MAX_PAGE, least=1)),
        cursor=cursor,
    )


async def accepted(services: Services, task: Task) -> Accept:
    """Have a task accepted; raise a Problem when it is refused."""
    asked = submitted(task, services)
    answer = await services.dispatcher.submit(
        task, delay_s=asked.delay_s, expires_in_s=asked.expires_in_s
    )
    if isinstance(answer, Refuse):
        raise services.problem_of(answer)
    return answer


async def _follow(services: Services, task_id: str) -> AsyncIterator[bytes]:
    """Yield what a task prints until it has ended."""
    follower = Follower()
    while True:
        record = await services.dispatcher.records.get(task_id)
        printed = await services.dispatcher.output(task_id)
        if record is None or printed is None:
            return
        if news := follower.news(record.attempt, printed):
            yield news
        if record.ended:
            return
        await asyncio.sleep(_FOLLOW_INTERVAL_S)
