"""One attempt: decode the arguments, call the function, encode what became of it."""

import inspect
import resource
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

import msgspec

from vera_worker.tasks import Cause
from vera_worker.wire import Assign, Raised, Returned

#: Longest message and traceback sent; a recursion's traceback tells nothing more in its middle.
_MAX_TEXT: Final = 16 * 1024


class _Call(msgspec.Struct):
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


_decode_call: Final = msgspec.json.Decoder(_Call).decode
_encode_result: Final = msgspec.json.Encoder().encode


class _Unserialisable(Exception):
    pass


def attempt(
    assign: Assign, function: Callable[..., Any], max_result_bytes: int
) -> Returned | Raised:
    """Run `function` on the arguments of `assign` and return the message to send."""
    started, cpu = time.perf_counter(), _cpu_seconds()
    try:
        call = _decode_call(assign.payload)
        value = function(*call.args, **call.kwargs)
        if inspect.iscoroutine(value):
            value = _finish(value)
        result = _encode(value, max_result_bytes)
    except BaseException as error:  # noqa: BLE001 - sys.exit() ends the task, not the executor
        cause = error.__cause__ if isinstance(error, _Unserialisable) else error
        return Raised(
            assign.task_id,
            assign.attempt,
            Cause.UNSERIALISABLE_RESULT if cause is not error else Cause.EXCEPTION,
            type(cause or error).__name__,
            _text(error),
            "" if cause is not error else _traceback(error),
            time.perf_counter() - started,
            _cpu_seconds() - cpu,
        )
    return Returned(
        assign.task_id,
        assign.attempt,
        result,
        time.perf_counter() - started,
        _cpu_seconds() - cpu,
    )


def _finish(coroutine: Any) -> Any:
    from vera_executor.coroutines import run  # noqa: PLC0415 - asyncio only where a task needs it

    return run(coroutine)


def _encode(value: Any, max_bytes: int) -> bytes:
    try:
        result = _encode_result(value)
    except (TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise _Unserialisable(
            f"the result, of type {type(value).__name__}, cannot be sent as JSON: {error}"
        ) from error
    if len(result) > max_bytes:
        raise _Unserialisable(
            f"the result has {len(result)} bytes as JSON, more than limits.max_result "
            f"({max_bytes}); write it to a file and return its name"
        )
    return result


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - a task's own __str__ may fail in any way
        text = f"(its message cannot be shown: {type(broken).__name__})"
    return _clip(text)


def _traceback(error: BaseException) -> str:
    # The first two frames are this module's.
    below = error.__traceback__.tb_next if error.__traceback__ else None
    try:
        return _clip("".join(traceback.format_exception(type(error), error, below)))
    except Exception:  # noqa: BLE001 - as above
        return ""


def _clip(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= _MAX_TEXT:
        return text
    half = _MAX_TEXT // 2
    return f"{text[:half]}\n[… {len(text) - _MAX_TEXT} characters left out …]\n{text[-half:]}"
