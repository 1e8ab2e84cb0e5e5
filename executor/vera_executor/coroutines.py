"""What an `async def` function comes to; the one place of the child that knows asyncio."""

import inspect
from typing import Any, Final

#: Modules whose frames lead to those of a coroutine.
FRAMES: Final = (__name__, "asyncio.runners", "asyncio.base_events")


def finish(value: Any) -> Any:
    """Return `value` as it is, unless it is a coroutine: run that, in a loop of its own."""
    if not inspect.iscoroutine(value):
        return value
    import asyncio  # noqa: PLC0415 - most executors never need it, and it takes its time to load

    return asyncio.run(value)
