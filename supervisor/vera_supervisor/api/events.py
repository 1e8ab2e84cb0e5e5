"""Server-sent events: what happens to one task, or to all of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from quart import Quart, Response, request

from vera_supervisor.api.schemas import encode, event_out
from vera_supervisor.api.services import Services
from vera_supervisor.feed import Kind, Listener, Numbered

_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}


def add_routes(app: Quart, services: Services) -> None:
    """Add the routes."""
    streams = _Streams(services)

    @app.get("/events")
    async def all_events() -> Response:
        return _streamed(streams.of_all(_last_event_id()))

    @app.get("/task/<task_id>/events")
    async def events(task_id: str) -> Response:
        last_id = _last_event_id()
        record = services.found(await services.dispatcher.records.get(task_id), task_id)
        if record.ended and last_id and services.feed.since(last_id, task_id) == []:
            return Response(status=204)  # it has seen the end: browsers do not come back
        return _streamed(streams.of_one(task_id, last_id))


class _Streams:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._feed = services.feed
        self._heartbeat_s = services.config.server.heartbeat

    async def of_all(self, last_id: str | None) -> AsyncIterator[bytes]:
        """Yield what happens from now on, or from where a client was cut off."""
        listener = self._feed.listen()
        try:
            missed = self._feed.since(last_id) if last_id else []
            yield self._reset() if missed is None else b": welcome\n\n"
            yield _as_text(missed or ())
            async for events in self._heard(listener):
                yield events if isinstance(events, bytes) else _as_text(events)
        finally:
            self._feed.unlisten(listener)

    async def of_one(self, task_id: str, last_id: str | None) -> AsyncIterator[bytes]:
        """Yield how a task stands, and then what happens to it until its end."""
        listener = self._feed.listen(task_id)
        try:
            missed = self._feed.since(last_id, task_id) if last_id else []
            if missed is None:
                yield self._reset()
            record = await self._services.dispatcher.records.get(task_id)
            if record is None:
                return
            # An end has an id, so that who has seen it need not be told of it again.
            seen = self._feed.last_id if record.ended else None
            yield _message("state", encode(self._services.shown(record)), seen)
            yield _as_text(missed or ())
            if record.ended:
                return
            async for events in self._heard(listener):
                yield events if isinstance(events, bytes) else _as_text(events)
                if not isinstance(events, bytes) and events[-1].event.kind is Kind.ENDED:
                    return
        finally:
            self._feed.unlisten(listener)

    async def _heard(self, listener: Listener) -> AsyncIterator[list[Numbered] | bytes]:
        """Yield events as they come, and signs of life while none do."""
        while True:
            events = listener.take()
            if events:
                yield events
            elif listener.behind:
                yield self._reset()
                return
            elif listener.closed:
                return
            else:
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await listener.news.wait()
                except TimeoutError:
                    yield b": still here\n\n"

    def _reset(self) -> bytes:
        reason = "events were lost to you; look how things stand, and go on from here"
        return _message("reset", encode({"reason": reason}), self._feed.last_id)


def _last_event_id() -> str | None:
    return request.headers.get("Last-Event-ID")


def _as_text(events: Iterable[Numbered]) -> bytes:
    return b"".join(
        _message(numbered.event.kind, encode(event_out(numbered.event)), numbered.id)
        for numbered in events
    )


def _message(kind: str, data: bytes, id_: str | None) -> bytes:
    # msgspec writes JSON in one line, whatever the strings in it hold.
    named = b"" if id_ is None else b"id: %b\n" % id_.encode()
    return b"%bevent: %b\ndata: %b\n\n" % (named, kind.encode(), data)


def _streamed(body: AsyncIterator[bytes]) -> Response:
    response = Response(body, headers=_HEADERS)
    response.timeout = None
    return response
