"""A change of configuration and code while the worker runs: all of it takes effect, or nothing.

The task modules are always imported anew, because nobody can know which of the files that they
read, or of the modules that their functions import later, have changed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, TypeAlias

import anyio
import anyio.to_thread

from vera_supervisor import entrance
from vera_supervisor.catalogue import Differences
from vera_supervisor.config import Change, Config, ConfigError, changes
from vera_supervisor.entrance import Entrance
from vera_supervisor.notify import Notifier
from vera_supervisor.pool import trial
from vera_supervisor.pool.trial import Candidate
from vera_supervisor.staffing import UnfitPool
from vera_supervisor.timekeeper import UnfitSchedule
from vera_worker.errors import VeraError

log = logging.getLogger(__name__)


class NeedsRestart(VeraError):
    """Keys have changed that cannot take effect while the worker runs; nothing was changed."""

    def __init__(self, refused: list[Change]) -> None:
        keys = ", ".join(change.key for change in refused)
        super().__init__(
            f"restart the worker to change {keys}, or take that back; nothing was changed"
        )


#: Why a reload may be refused.
CANNOT_RELOAD: Final = (
    ConfigError,
    NeedsRestart,
    UnfitPool,
    UnfitSchedule,
    *trial.UNFIT,
    *entrance.UNFIT,
)


#: Puts all of it into effect, or raises one of these and changes nothing. It does not wait, so
#: nobody ever sees a part of the change.
Obey: TypeAlias = Callable[[Config, Entrance, Candidate], Differences]


class Reloaded(NamedTuple):
    """What a reload has changed."""

    changes: list[Change]
    #: Which functions can be called now, can no longer be, or are called differently.
    functions: Differences


class Reloader:
    """Reads the configuration and the code again, and has the worker go by them.

    `on_trial` loads the code.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        entrance_of: Callable[[Config], Entrance],
        on_trial: Callable[[Config], AbstractAsyncContextManager[Candidate]],
    ) -> None:
        self._config = config
        self._read = read
        self._entrance_of = entrance_of
        self._on_trial = on_trial
        #: Those who have asked for a reload and wait to hear of it.
        self._asked: asyncio.Queue[asyncio.Future[Reloaded]] = asyncio.Queue()

    async def reload(self) -> Reloaded:
        """Return what has changed; raise CANNOT_RELOAD, and change nothing.

        It is done by `run`, whether or not the caller stays to hear of it.
        """
        answer: asyncio.Future[Reloaded] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait(answer)
        return await asyncio.shield(answer)

    async def run(self, obey: Obey, signals: AsyncIterator[object], notifier: Notifier) -> None:
        """Reload when somebody asks for it, and at each of these signals, for ever."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._serve, obey)
            group.start_soon(self._reload_on, signals, notifier)

    async def _serve(self, obey: Obey) -> None:
        """Do what is asked for, one reload after another; what is wrong is logged as well."""
        while True:
            answer = await self._asked.get()
            try:
                done = await self._reload(obey)
            except CANNOT_RELOAD as error:
                log.error("not reloaded, all stays as it was: %s", error)  # noqa: TRY400 - the user's mistake
                answer.set_exception(error)
            else:
                answer.set_result(done)

    async def _reload(self, obey: Obey) -> Reloaded:
        new = await anyio.to_thread.run_sync(self._read)
        found = changes(self._config, new)
        refused = [change for change in found if not change.reloadable]
        if refused:
            raise NeedsRestart(refused)
        let_in = await anyio.to_thread.run_sync(self._entrance_of, new)
        async with self._on_trial(new) as code:
            functions = obey(new, let_in, code)
            self._config = new
        said = [*map(str, found), *functions.words()]
        log.info("reloaded: %s", "; ".join(said) or "nothing but the code can have changed")
        return Reloaded(found, functions)

    async def _reload_on(self, signals: AsyncIterator[object], notifier: Notifier) -> None:
        """Reload at each of these signals, and tell the service manager."""
        async for _ in signals:
            notifier.reloading()
            try:
                await self.reload()
                notifier.ready("reloaded")
            except CANNOT_RELOAD as error:
                notifier.ready(f"not reloaded: {error}")
