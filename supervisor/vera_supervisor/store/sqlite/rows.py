"""How a task is written into rows, and read back: columns, JSON and checksums."""

import struct
from collections.abc import Mapping
from operator import attrgetter
from sys import intern
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
#: Where some of them stand in a row.
NUMBER, TASK_ID, COMPLETED_AT, SIZE, LARGE = map(
    COLUMNS.index, ("number", "task_id", "completed_at", "size", "large")
)
_FIXED: Final = slice(COLUMNS.index("status"))
_MAY_CHANGE: Final = slice(COLUMNS.index("status"), COLUMNS.index("checksum"))

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


class Entry(msgspec.Struct, gc=False):
    """What is held in memory of a task that has not ended: enough to write its row anew."""

    number: int
    #: The same object as the key that it is found by.
    task_id: str
    #: Checksum of the columns that never change.
    seed: int
    #: Bytes that it counts for until it ends.
    size: int
    large: int
    status: Status
    state: State
    #: Output in the row itself.
    output: bytes | None
    #: Read when the database was opened, and kept until the task is taken up.
    task: Task | None = None


_CRC_MASK: Final = 0xFFFFFFFF
_pack: Final = struct.Struct("<dqB").pack
_encode: Final = msgspec.json.Encoder().encode
_decode_rest: Final = msgspec.json.Decoder(_Rest).decode
_decode_state: Final = msgspec.json.Decoder(State).decode
_decode_tags: Final = msgspec.json.Decoder(tuple[str, ...]).decode
#: By word, and the other way round: quicker than to ask the enumeration, for each row.
_STATUS: Final = {status.value: status for status in Status}
_WORD: Final = {status: word for word, status in _STATUS.items()}

#: The state of every task that has just come, and how it is written.
NEW: Final = State()
_NOTHING: Final = b"{}"


def fixed_columns(number: int, task: Task) -> Row:
    """Return the columns of a task that never change."""
    tags = _encode(task.tags).decode() if task.tags else None
    payload = task.payload if len(task.payload) <= LARGE_BYTES else None
    return (number, task.task_id, task.function, tags, _encode(_Rest(*_rest_of(task))), payload)


def new_entry(fixed: Row, task: Task) -> Entry:
    """Return the entry of a task that has just come."""
    large = 0 if len(task.payload) <= LARGE_BYTES else PAYLOAD
    size = ROW_BYTES + len(task.payload) + len(fixed[4])
    return Entry(fixed[0], task.task_id, _seed(fixed), size, large, Status.QUEUED, NEW, None)


def changing_columns(entry: Entry) -> Row:
    """Return the columns that may change of a task that has not ended."""
    state = _NOTHING if entry.state is NEW else _encode(entry.state)
    return _changing(entry, None, state, None)


def ended_columns(entry: Entry, completed_at: float, result: bytes | None) -> Row:
    """Return the columns that may change of a task that ends, and count its bytes.

    A large result is stored apart.
    """
    state = _encode(entry.state)
    entry.size += len(state)
    if result is not None:
        entry.size += len(result)
        if len(result) > LARGE_BYTES:
            entry.large |= RESULT
            result = None
    return _changing(entry, completed_at, state, result)


def _changing(entry: Entry, completed_at: float | None, state: bytes, result: bytes | None) -> Row:
    changing = (
        _WORD[entry.status],
        completed_at,
        entry.size,
        entry.large,
        state,
        result,
        entry.output,
    )
    return (*changing, _checksum(entry.seed, changing))


def part_checksum(number: int, part: int, content: bytes) -> int:
    """Return the checksum of a large part."""
    return crc32(content, crc32(b"%d %d" % (number, part)))


def verify(row: Row) -> int:
    """Raise Damaged unless a row is as it was written; return the checksum of its fixed columns."""
    try:
        seed = _seed(row)
        if _checksum(seed, row[_MAY_CHANGE]) == row[-1]:
            return seed
    except (AttributeError, TypeError, ValueError, struct.error):
        pass  # a flipped bit may change a value's type
    raise Damaged(f"the row of task number {row[NUMBER]} is not as it was written")


def entry_of(row: Row, seed: int) -> Entry:
    """Return the entry of a task that has not ended, from its row and what `verify` returned."""
    status, _, size, large, state, _, output = row[_MAY_CHANGE]
    number, task_id = row[NUMBER], row[TASK_ID]
    return Entry(number, task_id, seed, size, large, _STATUS[status], _state(state), output)


def task_of(row: Row, parts: Mapping[int, bytes]) -> Task:
    """Return the task that a verified row and its large parts hold."""
    _, task_id, function, tags, rest, payload = row[_FIXED]
    more = _decode_rest(rest)
    return Task(  # name by name: a dictionary in between takes three times as long
        task_id=task_id,
        function=intern(function),  # there are few, and each is held once
        payload=parts[PAYLOAD] if row[LARGE] & PAYLOAD else payload,
        priority=more.priority,
        timeout_s=more.timeout_s,
        queued_at=more.queued_at,
        max_retries=more.max_retries,
        retry_delay_s=more.retry_delay_s,
        run_at=more.run_at,
        expires_at=more.expires_at,
        depends_on=more.depends_on,
        on_dependency_failure=more.on_dependency_failure,
        requirements=more.requirements,
        tags=() if tags is None else _decode_tags(tags),
        metadata=more.metadata,
        retry_of=more.retry_of,
        client=more.client,
        digest=more.digest,
    )


def record_of_entry(entry: Entry, task: Task) -> Record:
    """Return the record of a task that has not ended and has no large parts."""
    state = entry.state
    return Record(
        task=task,
        number=entry.number,
        status=entry.status,
        attempt=state.attempt,
        spent=state.spent,
        ready_at=state.ready_at,
        started_at=state.started_at,
        failure=state.failure,
        output=entry.output or b"",
    )


def record_of(row: Row, parts: Mapping[int, bytes]) -> Record:
    """Return the record that a verified row and its large parts hold."""
    status, completed_at, _, large, encoded, result, output = row[_MAY_CHANGE]
    state = _state(encoded)
    return Record(
        task=task_of(row, parts),
        number=row[NUMBER],
        status=_STATUS[status],
        attempt=state.attempt,
        spent=state.spent,
        ready_at=state.ready_at,
        started_at=state.started_at,
        completed_at=completed_at,
        result=parts[RESULT] if large & RESULT else result,
        failure=state.failure,
        output=parts[OUTPUT] if large & OUTPUT else output or b"",
    )


def _state(encoded: bytes) -> State:
    """Return a state; nearly all tasks that wait share one."""
    return NEW if encoded == _NOTHING else _decode_state(encoded)


def _seed(row: Row) -> int:
    number, task_id, function, tags, rest, payload = row[_FIXED]
    words = (task_id + function + (tags or "")).encode()  # raises where one is no text
    return crc32(b"".join((words, rest, payload or b"")), number & _CRC_MASK)


def _checksum(seed: int, changing: Row) -> int:
    """Return the checksum of a row from that of its fixed columns and those that may change."""
    status, completed_at, size, large, state, result, output = changing
    numbers = _pack(completed_at or 0.0, size, large)
    return crc32(b"".join((status.encode(), numbers, state, result or b"", output or b"")), seed)
