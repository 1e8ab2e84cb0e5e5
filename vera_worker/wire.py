"""The messages between supervisor and executor: one union each way, msgpack inside frames."""

from typing import Final, TypeAlias

import msgspec

from vera_worker.framing import encode_frame
from vera_worker.handlers import FunctionInfo
from vera_worker.tasks import Sandbox, Used

#: Room for the words around a payload or a result within a frame.
ENVELOPE_BYTES: Final = 64 * 1024


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    pass


class Assign(_Message, frozen=True):
    """Run one attempt now."""

    task_id: str
    attempt: int
    function: str
    #: The JSON object `{"function", "args", "kwargs"}` as the client sent it.
    payload: bytes
    timeout_s: float
    #: What it may use with all its processes; None: no limit.
    memory_bytes: int | None = None
    sandbox: Sandbox | None = None


class Stop(_Message, frozen=True):
    """End the running attempt soon; it reads this when it asks for `stop_requested`."""


class Ping(_Message, frozen=True):
    """Answer with Pong, to show that you turn over."""


class Retire(_Message, frozen=True):
    """No more work: leave."""


class Ready(_Message, frozen=True):
    """All task modules are loaded; send work."""

    pid: int
    functions: tuple[FunctionInfo, ...]


class LoadFailed(_Message, frozen=True):
    """A task module could not be loaded; the executor leaves."""

    module: str
    reason: str
    traceback: str


class WarmUpFailed(_Message, frozen=True):
    """The warm-up of the executor's pool failed; the executor leaves."""

    function: str
    reason: str
    traceback: str


class Pong(_Message, frozen=True):
    """The answer to Ping."""


class Reported(_Message, frozen=True):
    """The running task said how far it is."""

    task_id: str
    attempt: int
    fraction: float | None
    message: str | None


class Returned(_Message, frozen=True):
    """The function returned; `result` is JSON."""

    task_id: str
    attempt: int
    result: bytes
    #: Set when the task left this process unfit for another one: why.
    unfit: str | None = None
    #: None where the attempt was over too soon to use much.
    used: Used | None = None


class Raised(_Message, frozen=True):
    """The function raised, or what it returned cannot be sent."""

    task_id: str
    attempt: int
    #: The value of a `vera_worker.tasks.Cause`.
    cause: str
    exception: str
    message: str
    traceback: str
    duration_s: float
    used: Used | None
    unfit: str | None = None


ToExecutor: TypeAlias = Assign | Stop | Ping | Retire
FromExecutor: TypeAlias = Ready | LoadFailed | WarmUpFailed | Pong | Reported | Returned | Raised

_encoder = msgspec.msgpack.Encoder()
decode_to_executor = msgspec.msgpack.Decoder(ToExecutor).decode
decode_from_executor = msgspec.msgpack.Decoder(FromExecutor).decode


def pack(message: ToExecutor | FromExecutor) -> bytes:
    """Return `message` as one frame."""
    return encode_frame(_encoder.encode(message))
