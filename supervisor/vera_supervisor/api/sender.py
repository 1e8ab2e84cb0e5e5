"""Who sends the request that is being served: the name of its token, where there are several."""

from contextvars import ContextVar
from typing import Final

SENDER: Final[ContextVar[str | None]] = ContextVar("sender", default=None)
