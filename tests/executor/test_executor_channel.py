"""The child's end of the link, alone."""

import itertools
import socket

import pytest

from vera_executor import channel
from vera_executor.channel import Channel
from vera_worker import wire


def test_a_default_timeout_of_the_task_modules_does_not_make_the_link_impatient() -> None:
    """With one, an executor that idles for longer would take the link for dead."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5.0)  # as the socket comes into a process with such a default
        Channel(theirs, 1000)
        assert theirs.gettimeout() is None


def test_after_looking_out_in_vain_it_waits_asleep_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An executor of a busy machine would burn more CPU on looking out than on its tasks."""
    looks: list[int] = []
    monkeypatch.setattr(channel.os, "sched_yield", lambda: looks.append(len(received)))
    moments = itertools.count(step=channel._LOOK_OUT_S / 2)
    monkeypatch.setattr(channel.time, "monotonic", lambda: next(moments))
    ours, theirs = socket.socketpair()
    received: list[object] = []
    with ours, theirs:
        receiver = Channel(theirs, 1000)
        monkeypatch.setattr(receiver, "_readable", _NeverReadable())
        for _ in range(2 * channel._SLEEPS + 3):
            ours.sendall(wire.pack(wire.Ping()))
            received.append(receiver.receive())
    assert sorted(set(looks)) == [0, channel._SLEEPS + 1, 2 * channel._SLEEPS + 2]


class _NeverReadable:
    def poll(self, _timeout: float) -> list[tuple[int, int]]:
        return []
