"""Who sends the request that is being served."""

from contextvars import ContextVar
from typing import Final, NamedTuple


class Sender(NamedTuple):
    """What is known of who sends a request."""

    #: The name of its token; None where there is one for all, or none.
    name: str | None = None
    #: Whether it rules the worker, and so all tasks.
    rules: bool = True

    def owns(self, client: str | None) -> bool:
        """Return whether a task that `client` submitted is its to end and to run again."""
        return self.rules or client == self.name


SENDER: Final[ContextVar[Sender]] = ContextVar("sender", default=Sender())  # noqa: B039 - a tuple
