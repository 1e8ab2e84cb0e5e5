"""One executor process as the supervisor holds it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from vera_supervisor.effects import Assign
from vera_supervisor.pool.launch import STACK_SIGNAL, Launched, Launcher
from vera_supervisor.pool.link import Link
from vera_supervisor.pool.output import Output
from vera_worker import process_tree, wire
from vera_worker.tasks import Cause, Failure

#: Most that is read of a stack dump.
_STACK_BYTES: Final = 64 * 1024


class Executor:
    """A process, and all that connects us with it."""

    def __init__(self, launcher: Launcher, launched: Launched, max_output_bytes: int) -> None:
        self.launcher = launcher
        self._launched = launched
        self.pid = launched.process.pid
        self.output = Output(launched.output_fd, max_output_bytes)
        self.link: Link
        #: Why it is killed although its task had time left.
        self.broken: str | None = None
        self.running = True
        #: The task that it runs, if that may use only so much memory.
        self.limited: Assign | None = None
        self._dumped = False

    async def connect(
        self,
        max_frame_bytes: int,
        on_message: Callable[[wire.FromExecutor], None],
        on_broken: Callable[[str], None],
        on_closed: Callable[[], None],
    ) -> None:
        """Take up the link."""
        loop = asyncio.get_running_loop()
        self.link = Link(max_frame_bytes, on_message, on_broken, on_closed)
        await loop.create_unix_connection(lambda: self.link, sock=self._launched.link)

    async def wait(self) -> int | None:
        """Return the exit status once the process is gone."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        sentinel = self._launched.process.sentinel
        loop.add_reader(sentinel, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(sentinel)
        self.running = False
        return self._launched.process.poll()

    def dump_stack(self) -> None:
        """Have all stacks written to the stack file; a stopped process is woken for that."""
        self._dumped = True
        with suppress(ProcessLookupError):
            process_tree.wake_with(self.pid, STACK_SIGNAL)

    def stack(self) -> str | None:
        """Return the stacks of the present task that were written down, if any."""
        stack = os.pread(self._launched.stack_fd, _STACK_BYTES, 0)
        return stack.decode("utf-8", "replace") or None

    def stopped(self) -> Failure | None:
        """Return where a task was when it was told to stop, though it returned in the end."""
        if not self._dumped:
            return None
        return Failure(cause=Cause.TIMEOUT, message="it returned too late", stack=self.stack())

    def forget_stack(self) -> None:
        """A new task begins: the stacks of the last one are none of its business."""
        if self._dumped:
            self._dumped = False
            os.ftruncate(self._launched.stack_fd, 0)
            os.lseek(self._launched.stack_fd, 0, os.SEEK_SET)

    def close(self) -> None:
        """Give back all descriptors."""
        self.link.close()
        self.output.close()
        os.close(self._launched.stack_fd)
        self._launched.process.close()
