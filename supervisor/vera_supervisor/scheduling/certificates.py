"""Death certificates of attempts, and of tasks that end without one: each in one sentence."""

from typing import Any, Final

from msgspec.structs import replace

from vera_supervisor.scheduling.events import ExecutorLost
from vera_worker.lifecycle import Status
from vera_worker.tasks import Cause, Failure, Task, Used

#: Longest piece of a task's output in its death certificate.
OUTPUT_TAIL_BYTES: Final = 4096
_MIB: Final = 1024 * 1024

CANCELLED_IN_QUEUE: Final = Failure(cause=Cause.CANCELLED, message="cancelled while it was queued")
EXPIRED: Final = Failure(cause=Cause.EXPIRED, message="its time to start had passed")
WORKER_LOST: Final = Failure(cause=Cause.WORKER_LOST, message="the worker was lost while it ran")


def over_memory(
    seen: Failure | None, limit_bytes: int, peak_mb: float, duration_s: float | None
) -> Failure:
    """Return the certificate of an attempt that used more memory than its limit."""
    limit_mb = limit_bytes / _MIB
    if peak_mb > limit_mb:
        message = f"it used {peak_mb:g} MiB of memory, more than its limit of {limit_mb:g} MiB"
    else:  # the kernel did not let it
        message = f"it needed more memory than its limit of {limit_mb:g} MiB"
    return replace(
        seen or Failure(cause=Cause.MEMORY, message=""),
        cause=Cause.MEMORY,
        message=message,
        limit_mb=limit_mb,
        peak_memory_mb=peak_mb,
        duration_s=duration_s,
    )


def stopped(why: Cause, task: Task, seen: Failure | None, duration_s: float | None) -> Failure:
    """Return the certificate of an attempt that we ended; `seen` is what was observed of it."""
    messages = {
        Cause.TIMEOUT: f"it did not end within its timeout of {task.timeout_s:g} s",
        Cause.CANCELLED: "cancelled while it ran",
        Cause.INTERRUPTED: "the worker stopped while it ran",
    }
    changes: dict[str, Any] = {"cause": why, "message": messages[why]}
    if why is Cause.TIMEOUT:
        changes["timeout_s"] = task.timeout_s
    if duration_s is not None:
        changes["duration_s"] = duration_s
    return replace(seen or Failure(cause=why, message=""), **changes)


def crashed(event: ExecutorLost, duration_s: float | None) -> Failure:
    """Return the certificate of an attempt whose executor died under it."""
    lost = Failure(
        cause=Cause.CRASHED,
        message=event.message,
        exit_code=event.exit_code,
        signal=event.signal,
        stack=event.stack,
        duration_s=duration_s,
    )
    return with_use(lost, event.used)


def with_use(failure: Failure, used: Used | None) -> Failure:
    """Return a certificate with what the attempt used, as far as somebody measured it."""
    if used is None:
        return failure
    peak_mb = failure.peak_memory_mb or round(used.peak_bytes / _MIB, 1) or None
    return replace(failure, cpu_seconds=used.cpu_seconds, peak_memory_mb=peak_mb)


def start_not_stored(reason: str) -> Failure:
    """Return the certificate of an attempt that did not begin because its start was not stored."""
    return Failure(cause=Cause.INTERRUPTED, message=f"its start was not stored: {reason}")


def dependency_failed(task_id: str, status: Status) -> Failure:
    """Return the certificate of a task that never ran because another one did not complete."""
    return Failure(
        cause=Cause.CANCELLED,
        type="DependencyFailed",
        message=f"not started: it depends on task {task_id!r}, which is {status}",
    )


def with_tail(failure: Failure, output: bytes) -> Failure:
    """Return a certificate with the last words of the attempt."""
    tail = output[-OUTPUT_TAIL_BYTES:].decode("utf-8", "replace")
    return replace(failure, output_tail=tail or None)
