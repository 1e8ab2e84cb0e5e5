"""What can go wrong between a client and a worker, in one tree."""

from typing import Any

from vera_client.records import TaskRecord
from vera_worker.errors import VeraError


class ClientError(VeraError):
    """Base of everything that a client raises on purpose."""


class WorkerUnreachable(ClientError):
    """Nothing answered: no connection, or a connection that broke or stayed silent."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no worker answers at {url}: {reason}")
        self.url = url
        self.reason = reason


class StrangeAnswer(ClientError):
    """Something answered that is no vera-worker."""


class ApiProblem(ClientError):
    """The worker said no; its `detail` says why and what to do."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        request_id: str = "",
        field: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        #: The field of the request that is at fault, where one is.
        self.field = field
        #: The problem's `type`.
        self.kind = kind
        #: What to look for in the worker's log.
        self.request_id = request_id


class NotAllowed(ApiProblem):
    """No token, a wrong one, or a Host that the worker does not serve: 401, 403 or 421."""


class Refused(ApiProblem):
    """Not now: the queue is full (429), or the worker drains or cannot store (503)."""

    #: Seconds after which another try makes sense.
    retry_after = 1.0


class TaskFailed(ClientError):
    """A task ended without a result; `record` has all that is known of it."""

    def __init__(self, record: TaskRecord) -> None:
        super().__init__(ending_of(record))
        self.record = record


def ending_of(record: TaskRecord) -> str:
    """Say in one sentence how a task without a result ended."""
    cause = record.failure.cause if record.failure else record.status
    why = f" ({cause})" if cause != record.status else ""
    return f"task {record.task_id} {record.status}{why}: {record.error or 'no reason was given'}"


def result_of(record: TaskRecord) -> Any:
    """Return the result of a task that has ended; raise TaskFailed without one."""
    if not record.completed:
        raise TaskFailed(record)
    return record.result
