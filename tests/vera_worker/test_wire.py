"""Messages: what is packed on one side is what is unpacked on the other."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vera_worker import wire
from vera_worker.framing import FrameReader
from vera_worker.handlers import FunctionInfo, Parameter, TaskOptions
from vera_worker.tasks import Isolation, Priority, Used

text = st.text("aZ_ 9\n\0\u00e4\u20ac\U0001f600", max_size=20)
# 64 bits are what msgpack carries.
number = st.integers(min_value=0, max_value=2**63 - 1)
real = st.floats(allow_nan=False)
maybe_text = st.none() | text
option_values = st.builds(
    TaskOptions,
    name=st.none() | text.filter(bool),
    timeout=st.none() | st.floats(0, exclude_min=True),
    memory=st.none() | st.integers(2**20, 2**63 - 1),
    max_retries=st.none() | st.integers(0, 1000),
    retry_delay=st.none() | st.floats(0),
    priority=st.none() | st.sampled_from(Priority),
    max_concurrency=st.none() | st.integers(1, 2**63 - 1),
    isolation=st.none() | st.sampled_from(Isolation),
    idempotent=st.booleans(),
)
functions = st.builds(
    FunctionInfo,
    name=text,
    module=text,
    signature=text,
    doc=text,
    parameters=st.lists(st.builds(Parameter, text, text, st.booleans())).map(tuple),
    options=option_values,
)
to_executor = st.one_of(
    st.builds(wire.Assign, text, number, text, st.binary(), real),
    st.builds(wire.Stop),
    st.builds(wire.Ping),
    st.builds(wire.Retire),
)
used = st.none() | st.builds(Used, real, number)
from_executor = st.one_of(
    st.builds(wire.Ready, number, st.lists(functions, max_size=2).map(tuple)),
    st.builds(wire.LoadFailed, text, text, text),
    st.builds(wire.WarmUpFailed, text, text, text),
    st.builds(wire.Pong),
    st.builds(wire.Reported, text, number, st.none() | real, maybe_text),
    st.builds(wire.Returned, text, number, st.binary(), maybe_text, used),
    st.builds(wire.Raised, text, number, text, text, text, text, real, used, maybe_text),
)


def _payload(message: Any) -> bytes:
    (payload,) = FrameReader(2**20).feed(wire.pack(message))
    return payload


@given(to_executor)
def test_every_message_to_an_executor_arrives_as_it_was_sent(message: wire.ToExecutor) -> None:
    received = wire.decode_to_executor(_payload(message))
    assert received == message
    assert type(received) is type(message)


@given(from_executor)
def test_every_message_from_an_executor_arrives_as_it_was_sent(message: wire.FromExecutor) -> None:
    received = wire.decode_from_executor(_payload(message))
    assert received == message
    assert type(received) is type(message)


@pytest.mark.parametrize("union", [wire.ToExecutor, wire.FromExecutor])
def test_the_strategies_above_know_every_message(union: Any) -> None:
    strategy = to_executor if union is wire.ToExecutor else from_executor
    built: set[type] = set()

    @given(strategy)
    def collect(message: object) -> None:
        built.add(type(message))

    collect()
    assert built == set(union.__args__)


@pytest.mark.parametrize("message", [wire.Pong(), wire.Reported("a", 1, None, None)])
def test_a_message_of_the_wrong_direction_is_refused(message: wire.FromExecutor) -> None:
    with pytest.raises(msgspec.ValidationError):
        wire.decode_to_executor(_payload(message))


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x93\xa6Assign\x01\x02", b"{}"])
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        wire.decode_to_executor(payload)
