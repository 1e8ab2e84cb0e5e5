"""A store around another one: reads go straight through, writes are for the subclass."""

from vera_supervisor.store.protocol import Page, Query, Store
from vera_worker.tasks import Record


class WrappedStore:
    """Passes on all that is not a write."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def fault(self) -> str | None:
        return self.inner.fault

    async def get(self, task_id: str) -> Record | None:
        return await self.inner.get(task_id)

    async def page(self, query: Query) -> Page:
        return await self.inner.page(query)

    async def unended(self, after: int, limit: int) -> list[Record]:
        return await self.inner.unended(after, limit)

    async def forget(self, query: Query) -> int:
        return await self.inner.forget(query)

    async def prune(self, now: float) -> int:
        return await self.inner.prune(now)

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()
