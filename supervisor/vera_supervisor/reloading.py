"""A change of the configuration while the worker runs: all of it takes effect, or nothing."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio.to_thread

from vera_supervisor.config import Change, Config, ConfigError, changes
from vera_supervisor.entrance import UNFIT, Entrance
from vera_supervisor.notify import Notifier
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
CANNOT_RELOAD: Final = (ConfigError, NeedsRestart, *UNFIT)


class Reloader:
    """Reads the configuration again, and has the worker go by it."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        entrance_of: Callable[[Config], Entrance],
        obey: Callable[[Config, Entrance], None],
    ) -> None:
        self._config = config
        self._read = read
        self._entrance_of = entrance_of
        self._obey = obey
        self._turn = anyio.Lock()

    async def reload(self) -> list[Change]:
        """Return what has changed; raise CANNOT_RELOAD, and change nothing."""
        async with self._turn:
            new = await anyio.to_thread.run_sync(self._read)
            found = changes(self._config, new)
            refused = [change for change in found if not change.reloadable]
            if refused:
                raise NeedsRestart(refused)
            self._obey(new, await anyio.to_thread.run_sync(self._entrance_of, new))
            self._config = new
        log.info("reloaded: %s", "; ".join(map(str, found)) or "nothing has changed")
        return found

    async def reload_on(self, signals: AsyncIterator[object], notifier: Notifier) -> None:
        """Reload at each of these signals; what is wrong is logged, and the worker goes on."""
        async for _ in signals:
            notifier.reloading()
            try:
                await self.reload()
                notifier.ready("reloaded")
            except CANNOT_RELOAD as error:
                log.error("not reloaded, all stays as it was: %s", error)  # noqa: TRY400 - the user's mistake
                notifier.ready(f"not reloaded: {error}")
