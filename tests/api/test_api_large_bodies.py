"""Large bodies that come at once have a bound together, whoever sends them and how slowly."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.on_loop import on_loop
from tests.support.http_answers import Answer, assert_problem, connect, host_of, read_to_end
from tests.support.patience import until
from tests.support.worker_process import WorkerProcess
from vera_supervisor.api.counted_body import SMALL_BYTES, BodyRoom
from vera_supervisor.api.paced_body import counting, in_pieces

SETTINGS = {"VERA_LIMITS__MAX_BODIES": "200KiB"}
LARGE = 150 * 1024


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 120))), st.data())
def test_the_room_is_never_overdrawn_by_all_nor_by_one_and_all_of_it_comes_back(
    bodies: list[tuple[str, int]], data: st.DataObject
) -> None:
    room, held = BodyRoom(100), list[tuple[str, int]]()
    for client, size in bodies:
        taken = sum(other for _, other in held)
        mine = sum(other for who, other in held if who == client)
        fits = (not taken or taken + size <= 100) and (not mine or mine + size <= 90)
        assert room.of(client).full is (taken >= 100 or mine >= 90)
        assert room.of(client).take(size) is fits
        if fits:
            held.append((client, size))
        if held and data.draw(st.booleans()):
            who, less = held.pop()
            room.of(who).give_back(less)
    for client, size in held:
        room.of(client).give_back(size)
    assert not room.taken_by, "nobody who has nothing is remembered"
    assert room.of("a").take(1000), "one body always has room"


@on_loop
async def test_large_pieces_of_a_stream_are_counted_while_they_are_sent() -> None:
    room, full = BodyRoom(100_000).of("a"), list[bool]()

    async def send(_: Any) -> None:
        full.append(room.full)

    counted = counting(send, room)
    for size in (0, SMALL_BYTES, 200_000, 1):
        event: Any = {"type": "http.response.body", "body": b"x" * size, "more_body": True}
        await counted(event)
    assert full == [False, False, True, False]


@on_loop
async def test_large_pieces_are_handed_over_bit_by_bit() -> None:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    body = bytes(range(256)) * 600
    events: list[Any] = [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": body, "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]
    for event in events:
        await in_pieces(send)(event)
    start, *pieces, end = sent
    assert [start, end] == [events[0], events[2]]
    assert [len(piece["body"]) for piece in pieces] == [65536, 65536, 22528]
    assert b"".join(piece["body"] for piece in pieces) == body
    assert all(piece["more_body"] for piece in pieces)


def submission(size: int) -> bytes:
    shell = json.dumps({"payload": {"function": "noop", "kwargs": {}}, "metadata": ""}).encode()
    return shell[:-2] + b"x" * (size - len(shell)) + b'"}'


def head(node: WorkerProcess, length: str) -> bytes:
    return (
        b"POST /task/submit HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n%b\r\n\r\n"
    ) % (host_of(node.url), length.encode())


def answer_to(node: WorkerProcess, size: int) -> Answer:
    with connect(node.url) as connection:
        sent = head(node, f"Connection: close\r\nContent-Length: {size}")
        connection.sendall(sent + submission(size))
        [answer] = read_to_end(connection)
        return answer


@pytest.mark.system
@pytest.mark.parametrize(
    ("length", "body"),
    [(f"Content-Length: {LARGE}", b"{"), ("Transfer-Encoding: chunked", b"1\r\n{\r\n")],
)
def test_who_is_slow_to_send_much_holds_up_those_who_send_much(
    node: WorkerProcess, length: str, body: bytes
) -> None:
    assert answer_to(node, LARGE).status == 202
    with connect(node.url) as slow:
        slow.sendall(head(node, length) + body)
        until(lambda: answer_to(node, LARGE).status == 503)
        refused = answer_to(node, LARGE)
        assert "too many large bodies" in assert_problem(refused, 503)["detail"]
        assert refused.headers["retry-after"] == "1"
        assert answer_to(node, 2000).status == 202, "small ones come in all the same"
    until(lambda: answer_to(node, LARGE).status == 202)  # it is gone, and its room is free


@pytest.mark.system
def test_many_that_are_read_leave_no_trace(node: WorkerProcess) -> None:
    for _ in range(10):
        assert answer_to(node, LARGE).status == 202
    too_much = answer_to(node, 2 << 20)
    assert_problem(too_much, 413)
    assert answer_to(node, LARGE).status == 202
