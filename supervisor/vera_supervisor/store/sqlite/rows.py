"""How a task is written into rows, and read back: columns, JSON and checksums."""

from operator import attrgetter
from typing import Any, Final, TypeAlias
from zlib import crc32

import msgspec

from vera_worker.lifecycle import Status
from vera_worker.tasks import Failure, Record, Spent, Task

#: The columns of a task, in the order of `Row`; those from "status" on may change.
COLUMNS: Final = (
    "number",
    "task_id",
    "function",
    "tags",
    "task",
    "payload",
    "status",
    "completed_at",
    "size",
    "large",
    "state",
    "result",
    "output",
    "checksum",
)
CHANGING: Final = COLUMNS[COLUMNS.index("status") :]
Row: TypeAlias = tuple[Any, ...]

#: The bits of `large`, which are also the names of its parts.
PAYLOAD, RESULT, OUTPUT = 1, 2, 4
#: Longer parts are kept apart: a row is written anew with each change, and such a part is not.
LARGE_BYTES: Final = 2048
#: What a row takes beside its parts, with its place in the indexes; measured, rounded up.
ROW_BYTES: Final = 512


class Damaged(Exception):
    """Something that was read is not what was written; the message says what."""


class State(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What changes about a task, beside its status and its end."""

    attempt: int = 0
    spent: Spent = Spent()
    ready_at: float | None = None
    started_at: float | None = None
    failure: Failure | None = None


#: The fields of a task that have no column of their own: a new one is stored without a word here.
_REST: Final = [
    field
    for field in msgspec.structs.fields(Task)
    if field.name not in ("task_id", "function", "tags", "payload")
]
_rest_of: Final = attrgetter(*(field.name for field in _REST))
_Rest: Final[Any] = msgspec.defstruct(
    "_Rest",
    [
        (field.name, field.type) if field.required else (field.name, field.type, field.default)
        for field in _REST
    ],
    frozen=True,
    omit_defaults=True,
    gc=False,
)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is held in memory of a task that has not ended: enough to write its row anew."""

    number: int
    #: Checksum of the columns that never change.
    seed: int
    #: Bytes that it counts for until it ends.
    size: int
    large: int
    status: Status
    state: State
    #: Output in the row itself.
    output: bytes | None


_encode: Final = msgspec.json.Encoder().encode
_decode_rest: Final = msgspec.json.Decoder(_Rest).decode
_decode_state: Final = msgspec.json.Decoder(State).decode
_decode_tags: Final = msgspec.json.Decoder(tuple[str, ...]).decode

QUEUED: Final = State()


def fixed_columns(number: int, task: Task) -> Row:
    """Return the columns of a task that never change."""
    tags = _encode(task.tags).decode() if task.tags else None
    payload = task.payload if len(task.payload) <= LARGE_BYTES else None
    return (number, task.task_id, task.function, tags, _encode(_Rest(*_rest_of(task))), payload)


def new_entry(fixed: Row, task: Task) -> Entry:
    """Return the entry of a task that has just come."""
    large = 0 if len(task.payload) <= LARGE_BYTES else PAYLOAD
    size = ROW_BYTES + len(task.payload) + len(fixed[4])
    return Entry(fixed[0], _seed(fixed), size, large, Status.QUEUED, QUEUED, None)


def changing_columns(entry: Entry, completed_at: float | None, result: bytes | None) -> Row:
    """Return the columns of a task that may change; a large result is not among them."""
    state = _encode(entry.state)
    changing = (
        entry.status.value,
        completed_at,
        entry.size,
        entry.large,
        state,
        result,
        entry.output,
    )
    return (*changing, _checksum(entry.seed, changing))


def state_bytes(state: State) -> int:
    """Return how long a state is as JSON."""
    return len(_encode(state))


def part_checksum(number: int, part: int, content: bytes) -> int:
    """Return the checksum of a large part."""
    return crc32(content, crc32(b"%d %d" % (number, part)))


def verify(row: Row) -> None:
    """Raise Damaged unless a row is as it was written."""
    try:
        sound = _checksum(_seed(row), row[6:13]) == row[13]
    except (AttributeError, TypeError, ValueError):  # a flipped bit may change a value's type
        sound = False
    if not sound:
        raise Damaged(f"the row of task number {row[0]} is not as it was written")


def entry_of(row: Row) -> Entry:
    """Return the entry of a task that has not ended, from its row."""
    return Entry(
        row[0], _seed(row), row[8], row[9], Status(row[6]), _decode_state(row[10]), row[12]
    )


def record_of(row: Row, parts: dict[int, bytes]) -> Record:
    """Return the record that a verified row and its large parts hold."""
    number, task_id, function, tags, rest, payload, status, completed_at = row[:8]
    state = _decode_state(row[10])
    task = Task(
        task_id=task_id,
        function=function,
        payload=parts[PAYLOAD] if row[9] & PAYLOAD else payload,
        tags=() if tags is None else _decode_tags(tags),
        **msgspec.structs.asdict(_decode_rest(rest)),
    )
    return Record(
        task=task,
        number=number,
        status=Status(status),
        attempt=state.attempt,
        spent=state.spent,
        ready_at=state.ready_at,
        started_at=state.started_at,
        completed_at=completed_at,
        result=parts[RESULT] if row[9] & RESULT else row[11],
        failure=state.failure,
        output=parts[OUTPUT] if row[9] & OUTPUT else row[12] or b"",
    )


def _seed(row: Row) -> int:
    number, task_id, function, tags, rest, payload = row[:6]
    words = f"{number}\0{task_id}\0{function}\0{tags}\0{payload is None}\0".encode()
    return crc32(payload or b"", crc32(b"%b\0%b\0" % (words, rest)))


def _checksum(seed: int, changing: Row) -> int:
    """Return the checksum of a row from that of its fixed columns and those that may change."""
    status, completed_at, size, large, state, result, output = changing
    words = f"{status}\0{completed_at!r}\0{size}\0{large}\0{result is None}{output is None}\0"
    parts = (words.encode(), state, result or b"", output or b"")
    return crc32(b"\0".join(parts), seed)
