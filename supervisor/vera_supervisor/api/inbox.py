"""What a connection hands to the application of one request, and how the application is run.

Hypercorn's own queue blocks whoever puts something in until somebody takes something out: a client
that sends many pieces to an application that has ended would keep its connection for ever. Here
nothing is kept for an application once its answer has been sent.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

log = logging.getLogger(__name__)

#: Tells the client to send the body that it holds back.
Ask: TypeAlias = Callable[[], Awaitable[None]]

#: Pieces of a body that are kept for an application that does not take them yet.
_MOST: Final = 2


class Inbox:
    """Events for an application; it takes them one by one."""

    def __init__(self, ask: Ask | None = None) -> None:
        """`ask` is to be called before the application waits for the first event."""
        self._ask = ask
        self._events: deque[ASGIReceiveEvent] = deque()
        self._over = False
        self._come = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, event: ASGIReceiveEvent) -> None:
        """Keep an event; returns when there is room for the next one, or no need of it."""
        if self._over:
            return
        self._events.append(event)
        self._come.set()
        if event["type"] == "http.disconnect":  # the answer has left, or the client
            self._over = True
            self._room.set()
        elif event["type"] == "http.request" and event["more_body"]:
            while len(self._events) >= _MOST and not self._over:
                self._room.clear()
                await self._room.wait()

    async def get(self) -> ASGIReceiveEvent:
        """Take the next event, as soon as there is one."""
        while not self._events:
            if self._ask is not None:
                ask, self._ask = self._ask, None
                await ask()
                continue
            self._come.clear()
            await self._come.wait()
        self._room.set()
        return self._events.popleft()


class Requests(TaskGroup):
    """The requests of one connection."""

    #: What the next one is to call before it waits for its body.
    ask: Ask | None = None

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,  # noqa: ARG002 - Hypercorn passes it on
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Run the application for one request; return where to put what comes for it."""
        inbox, self.ask = Inbox(self.ask), None
        self.spawn(_serve, app, scope, inbox, send)
        return inbox.put


async def _serve(app: Any, scope: Scope, inbox: Inbox, send: Any) -> None:
    try:
        await app(scope, inbox.get, send)
    except Exception:
        log.exception("a request broke")
    finally:
        await send(None)
