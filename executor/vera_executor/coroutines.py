"""Runs an `async def` task; the one place of the child that knows asyncio, imported on demand."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run `coroutine` to its end in a loop of its own and return what it returns."""
    return asyncio.run(coroutine)
