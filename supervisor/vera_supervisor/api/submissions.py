"""From a request to a task: checks against the catalogue and the limits, and the defaults."""

import gc
import hashlib
from collections.abc import Callable
from typing import Final

import anyio.to_thread
import msgspec

from vera_supervisor.api.problems import Problem
from vera_supervisor.api.schemas import (
    Call,
    Submission,
    decode_any,
    decode_call,
    decode_execution,
    decode_submission,
    decoded,
    refuse_twin_keys,
    too_deep,
)
from vera_supervisor.api.sender import SENDER
from vera_supervisor.api.services import Services
from vera_supervisor.catalogue import Function
from vera_supervisor.scheduling import events as ev
from vera_worker.task_ids import new_id
from vera_worker.tasks import Task

#: Larger bodies are decoded in a thread: a megabyte of brackets takes longer than other clients
#: should have to wait.
DECODE_IN_THREAD_BYTES: Final = 64 * 1024

_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


async def read_submission(body: bytes, services: Services) -> Task:
    """Return the task that a body of POST /task/submit asks for; raise a Problem."""
    return await _read(_submission, body, services)


async def read_execution(body: bytes, services: Services) -> Task:
    """Return the task that a body of POST /execute asks for; raise a Problem."""
    return await _read(_execution, body, services)


def submitted(task: Task, services: Services) -> ev.Submitted:
    """Return the wish to have `task` done, with its times as seconds from now."""
    if task.run_at is None and task.expires_at is None:
        return ev.Submitted(task)
    now = services.clock.wall()
    return ev.Submitted(
        task,
        delay_s=0.0 if task.run_at is None else max(0.0, task.run_at - now),
        expires_in_s=None if task.expires_at is None else task.expires_at - now,
    )


def run_again(task: Task, services: Services) -> Task:
    """Return a new task that asks for the same as one that has ended; raise a Problem."""
    if services.catalogue.get(task.function) is None:
        raise Problem(422, f"there is no function {task.function!r} any more")
    now = services.clock.wall()
    return msgspec.structs.replace(
        task,
        task_id=new_id(now),
        queued_at=now,
        run_at=None,
        expires_at=None,
        retry_of=task.task_id,
        client=SENDER.get().name,
        digest=b"",
    )


async def _read(asked: Callable[[bytes], Submission], body: bytes, services: Services) -> Task:
    if len(body) > DECODE_IN_THREAD_BYTES:
        return await anyio.to_thread.run_sync(_task_of_large, asked, body, services)
    return _task_of(asked, body, services)


def _task_of_large(asked: Callable[[bytes], Submission], body: bytes, services: Services) -> Task:
    # A third of a million empty lists fit into a body. While they are made, the collector would go
    # through all of them again and again: ten times the time, during which nobody else runs.
    gc.disable()
    try:
        return _task_of(asked, body, services)
    finally:
        gc.enable()


def _task_of(asked: Callable[[bytes], Submission], body: bytes, services: Services) -> Task:
    try:
        task = make_task(asked(body), services)
        refuse_twin_keys(body)
    except RecursionError:
        raise too_deep() from None
    return task


def _submission(body: bytes) -> Submission:
    return decoded(decode_submission, body)


def _execution(body: bytes) -> Submission:
    execution = decoded(decode_execution, body)
    return Submission(
        task_id=execution.id,
        payload=execution.payload,
        timeout=execution.timeout,
        priority=execution.priority,
    )


def make_task(submission: Submission, services: Services) -> Task:
    """Return the task that a submission asks for, with all limits settled; raise a Problem."""
    call = decoded(decode_call, submission.payload, "payload")
    function = _function(call, services)
    terms = function.terms(
        priority=submission.priority,
        timeout_s=_timeout(submission, services),
        max_retries=submission.max_retries,
        retry_delay_s=submission.retry_delay,
        default_timeout_s=services.config.limits.task_timeout,
    )
    metadata = decoded(decode_any, submission.metadata, "metadata")
    now = services.clock.wall()
    run_at = _run_at(submission, now)
    return Task(
        task_id=submission.task_id or new_id(now),
        function=function.info.name,  # one string for all its tasks
        payload=bytes(submission.payload),
        priority=terms.priority,
        timeout_s=terms.timeout_s,
        queued_at=now,
        max_retries=terms.max_retries,
        retry_delay_s=terms.retry_delay_s,
        run_at=run_at,
        expires_at=None if submission.expires_at is None else submission.expires_at.timestamp(),
        depends_on=tuple(dict.fromkeys(submission.depends_on)),
        on_dependency_failure=submission.on_dependency_failure,
        requirements=submission.requirements,
        tags=tuple(submission.tags),
        metadata=None if metadata is None else bytes(submission.metadata),
        client=SENDER.get().name,
        digest=_digest(submission) if submission.task_id else b"",
    )


def _function(call: Call, services: Services) -> Function:
    function = services.catalogue.get(call.function)
    if function is None:
        detail = f"there is no function {call.function!r}; GET /functions lists those there are"
        raise Problem(422, f"payload.function: {detail}", field="payload.function")
    fault = function.fault(call.args, call.kwargs)
    if fault is not None:
        detail = f"the arguments do not fit {call.function}{function.info.signature}: {fault}"
        raise Problem(422, f"payload.args: {detail}", field="payload.args")
    return function


def _timeout(submission: Submission, services: Services) -> float | None:
    most = services.config.limits.max_task_timeout
    if submission.timeout is not None and submission.timeout > most:
        detail = f"at most limits.max_task_timeout = {most:g} s may be asked for"
        raise Problem(422, f"timeout: {detail}", field="timeout")
    return submission.timeout


def _run_at(submission: Submission, now: float) -> float | None:
    if submission.run_at is submission.expires_at is None:  # the usual case
        return None if submission.delay is None else now + submission.delay
    for name in ("run_at", "expires_at"):
        value = getattr(submission, name)
        if value is not None and value.tzinfo is None:
            raise Problem(422, f"{name}: say the time zone, e.g. a Z at the end", field=name)
    if submission.delay is not None and submission.run_at is not None:
        raise Problem(422, "delay: give delay or run_at, not both", field="delay")
    if submission.delay is not None:
        return now + submission.delay
    return None if submission.run_at is None else submission.run_at.timestamp()


def _digest(submission: Submission) -> bytes:
    """Return a digest that is equal for bodies that ask for the same, however they are written."""
    asked = {name: getattr(submission, name) for name in submission.__struct_fields__}
    for name in ("payload", "metadata"):
        asked[name] = decode_any(asked[name])
    return hashlib.blake2b(_encode_sorted(asked), digest_size=16).digest()
