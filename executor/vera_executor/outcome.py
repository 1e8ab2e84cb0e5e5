"""One attempt: decode the arguments, call the function, encode what became of it."""

import errno
from collections.abc import Callable
from typing import Any, Final

import msgspec

from vera_executor import coroutines, error_text
from vera_executor.meter import Meter
from vera_worker.tasks import Cause
from vera_worker.wire import Assign, Raised, Returned

#: Modules whose frames lead to the task's own.
_OUR_FRAMES: Final = frozenset({__name__, *coroutines.FRAMES})


class _Call(msgspec.Struct):
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


#: How a system call fails that is refused the memory it should write to.
_ERRORS_OF_SHORTAGE: Final = frozenset({errno.ENOMEM, errno.EFAULT})

_decode_call: Final = msgspec.json.Decoder(_Call).decode
_encode_result: Final = msgspec.json.Encoder().encode


class _Unserialisable(Exception):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def attempt(
    assign: Assign, function: Callable[..., Any], max_result_bytes: int, meter: Meter
) -> Returned | Raised:
    """Run `function` on the arguments of `assign` and return the message to send."""
    meter.start()
    try:
        call = _decode_call(assign.payload)
        value = coroutines.finish(function(*call.args, **call.kwargs))
        result = _encode(value, max_result_bytes)
    except _Unserialisable as error:
        cause, name, trace = Cause.UNSERIALISABLE_RESULT, error.name, ""
        message = error_text.message(error)
    except BaseException as error:  # noqa: BLE001 - sys.exit() ends the task, not the executor
        cause, name = _cause(error, assign), type(error).__name__
        message, trace = error_text.message(error), error_text.traceback(error, _OUR_FRAMES)
    else:
        used = meter.used_if_worth()
        return Returned(assign.task_id, assign.attempt, result, used=used)
    return Raised(
        assign.task_id,
        assign.attempt,
        cause,
        name,
        message,
        trace,
        meter.duration_s,
        meter.used(),
    )


def _cause(error: BaseException, assign: Assign) -> Cause:
    """Return MEMORY for an attempt that was refused memory under a limit, else EXCEPTION."""
    short = isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in _ERRORS_OF_SHORTAGE
    )
    return Cause.MEMORY if short and assign.memory_bytes is not None else Cause.EXCEPTION


def _encode(value: Any, max_bytes: int) -> bytes:
    try:
        result = _encode_result(value)
    except (TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise _Unserialisable(
            type(error).__name__,
            f"the result, of type {type(value).__name__}, cannot be sent as JSON: {error}",
        ) from None
    if len(result) > max_bytes:
        raise _Unserialisable(
            "ResultTooLarge",
            f"the result has {len(result)} bytes as JSON, more than limits.max_result "
            f"({max_bytes}); write it to a file and return its name",
        )
    return result
