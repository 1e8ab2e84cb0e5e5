"""Frames: whatever way the bytes arrive, the payloads are the ones that were sent, or none."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vera_worker.errors import FrameError
from vera_worker.framing import HEADER_BYTES, FrameReader, encode_frame

LIMIT = 4096
payload_lists = st.lists(st.binary(max_size=300), max_size=6)


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(payload_lists, st.lists(st.integers(min_value=0), max_size=20))
def test_any_frames_in_any_pieces_come_out_whole(payloads: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader(LIMIT)
    stream = b"".join(map(encode_frame, payloads))
    received = [payload for piece in _pieces(stream, cuts) for payload in reader.feed(piece)]
    assert received == payloads
    assert reader.pending_bytes == 0


def test_byte_by_byte_every_payload_comes_with_its_last_byte() -> None:
    reader = FrameReader(LIMIT)
    frame = encode_frame(b"payload")
    for count, byte in enumerate(frame[:-1], 1):
        assert reader.feed(bytes([byte])) == []
        assert reader.pending_bytes == count
    assert reader.feed(frame[-1:]) == [b"payload"]


@given(
    st.lists(st.binary(min_size=1, max_size=100), min_size=1, max_size=4),
    st.integers(min_value=0),
    st.integers(min_value=1, max_value=255),
)
def test_one_corrupted_byte_never_yields_a_wrong_payload(
    payloads: list[bytes], position: int, flip: int
) -> None:
    stream = bytearray(b"".join(map(encode_frame, payloads)))
    stream[position % len(stream)] ^= flip
    reader = FrameReader(LIMIT)
    try:
        received = reader.feed(bytes(stream))
    except FrameError:
        return
    # The length grew: the frame now waits for bytes that never come.
    assert received == payloads[: len(received)]
    assert len(received) < len(payloads)
    assert reader.pending_bytes > 0


@pytest.mark.parametrize("offset", range(HEADER_BYTES + 3))
@pytest.mark.parametrize("bit", range(8))
def test_every_single_flipped_bit_of_a_frame_is_noticed(offset: int, bit: int) -> None:
    frame = bytearray(encode_frame(b"abc"))
    frame[offset] ^= 1 << bit
    reader = FrameReader(LIMIT)
    try:
        assert reader.feed(bytes(frame)) == []
    except FrameError:
        return
    assert reader.pending_bytes == len(frame)


@given(st.integers(min_value=LIMIT + 1, max_value=2**32 - 1), st.binary(max_size=4))
def test_a_frame_too_long_is_refused_at_its_header(length: int, checksum: bytes) -> None:
    header = struct.pack("!I", length) + checksum.ljust(4, b"\0")
    with pytest.raises(FrameError, match=f"{length} bytes exceeds the limit of {LIMIT}"):
        FrameReader(LIMIT).feed(header)


@pytest.mark.parametrize("split_at", [0, 1, HEADER_BYTES, 100])
def test_the_longest_payload_is_taken_and_no_longer_one(split_at: int) -> None:
    reader = FrameReader(LIMIT)
    longest, longer = encode_frame(bytes(LIMIT)), encode_frame(bytes(LIMIT + 1))
    assert reader.feed(longest[:split_at]) == []
    assert reader.feed(longest[split_at:]) == [bytes(LIMIT)]
    with pytest.raises(FrameError, match="exceeds the limit"):
        reader.feed(longer[:split_at]) or reader.feed(longer[split_at:])


def test_a_frame_within_a_frame_is_a_payload() -> None:
    inner = encode_frame(b"inner")
    outer = encode_frame(inner)
    reader = FrameReader(LIMIT)
    assert reader.feed(outer[:HEADER_BYTES]) == []
    assert reader.feed(outer[HEADER_BYTES:]) == [inner]


def test_what_precedes_a_bad_frame_is_not_handed_out_with_it() -> None:
    good, bad = encode_frame(b"good"), encode_frame(b"bad")[:-1] + b"!"
    with pytest.raises(FrameError, match="checksum"):
        FrameReader(LIMIT).feed(good + bad)


@pytest.mark.parametrize("alien", [b"GET / HTTP/1.1\r\n\r\n", b"Traceback", b"\xff" * 9])
def test_text_of_a_task_is_no_frame(alien: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader(LIMIT).feed(alien)
