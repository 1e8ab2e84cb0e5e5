"""The sender's side: Client and AsyncClient, their errors, and the command line's client verbs.

from vera_client import Client
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vera_client.async_client import AsyncClient
    from vera_client.client import Client
    from vera_client.errors import (
        ApiProblem,
        ClientError,
        NotAllowed,
        Refused,
        StrangeAnswer,
        TaskFailed,
        WorkerUnreachable,
    )
    from vera_client.records import Cancelled, Function, Health, Page, TaskEvent, TaskRecord
    from vera_client.tls import tls_context

__all__ = [
    "ApiProblem",
    "AsyncClient",
    "Cancelled",
    "Client",
    "ClientError",
    "Function",
    "Health",
    "NotAllowed",
    "Page",
    "Refused",
    "StrangeAnswer",
    "TaskEvent",
    "TaskFailed",
    "TaskRecord",
    "WorkerUnreachable",
    "tls_context",
]

# Imported when asked for: the table of verbs is read at every start, httpx seldom needed there.
_HOMES = {"AsyncClient": "async_client", "Client": "client", "tls_context": "tls"} | dict.fromkeys(
    ("Cancelled", "Function", "Health", "Page", "TaskEvent", "TaskRecord"), "records"
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
