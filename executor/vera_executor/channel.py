"""The executor's blocking end of the link to the supervisor."""

import os
import select
import socket
import time
from collections import deque
from contextlib import suppress
from typing import Final, NoReturn

import msgspec

from vera_worker import context, process_tree, wire
from vera_worker.errors import FrameError
from vera_worker.framing import FrameReader

#: The next task often follows close upon an answer. Looking out for it for a moment, while yielding
#: the processor to whoever wants it, costs both sides less than falling asleep and being woken.
_LOOK_OUT_S: Final = 60e-6
#: Where looking out was in vain, as on a busy machine, this many messages are awaited asleep before
#: it is tried again.
_SLEEPS: Final = 8
_RECEIVE_BYTES: Final = 64 * 1024  # malloc would map and unmap anything larger every time


class Channel:
    """Messages to the supervisor and from it; once the link is gone, so is this process."""

    def __init__(self, link: socket.socket, max_payload_bytes: int) -> None:
        link.settimeout(None)  # a task module may have set another default for new sockets
        self._link = link
        self._frames = FrameReader(max_payload_bytes)
        self._received: deque[wire.ToExecutor] = deque()
        self._readable = select.poll()
        self._readable.register(link, select.POLLIN)
        #: How many more messages are awaited asleep.
        self._sleeps = 0

    def send(self, message: wire.FromExecutor) -> None:
        """Send `message` whole."""
        try:
            self._link.sendall(wire.pack(message))
        except OSError:
            leave()

    def receive(self) -> wire.ToExecutor:
        """Return the next message, waiting for it."""
        received = self._received
        if not received:
            self._look_out()
        while not received:
            self._take(0)
        return received.popleft()

    def stop_received(self) -> bool:
        """Return whether the supervisor has asked the running task to stop; does not wait."""
        with suppress(BlockingIOError):
            self._take(socket.MSG_DONTWAIT)
        return any(isinstance(message, wire.Stop) for message in self._received)

    def after_fork(self) -> None:
        """Close the link in a process that a task forked, lest two processes speak on it."""
        context.after_fork()
        self._link.close()

    def _look_out(self) -> None:
        """Wait a moment for a message without sleeping, if that was worth it of late."""
        if self._sleeps:
            self._sleeps -= 1
            return
        readable, until = self._readable.poll, time.monotonic() + _LOOK_OUT_S
        while not readable(0):
            if time.monotonic() >= until:
                self._sleeps = _SLEEPS
                return
            os.sched_yield()

    def _take(self, flags: int) -> None:
        try:
            data = self._link.recv(_RECEIVE_BYTES, flags)
            if not data:
                leave()
            self._received.extend(map(wire.decode_to_executor, self._frames.feed(data)))
        except BlockingIOError:
            raise
        except (OSError, FrameError, msgspec.MsgspecError):
            leave()


def leave() -> NoReturn:
    """End this process and all that it started, at once and without clean-up of a task's code."""
    process_tree.kill_descendants(os.getpid())
    os._exit(0)
