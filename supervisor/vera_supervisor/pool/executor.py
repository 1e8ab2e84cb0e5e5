"""One executor process as the supervisor holds it."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from vera_supervisor.host.machine import Machine
from vera_supervisor.host.processes import peak_bytes, tree_cpu_seconds
from vera_supervisor.pool.growth import Growth
from vera_supervisor.pool.launch import STACK_SIGNAL, Launched, Launcher
from vera_supervisor.pool.link import Link
from vera_supervisor.pool.memory import Sampled
from vera_supervisor.pool.output import Output
from vera_supervisor.scheduling.effects import Assign
from vera_worker import process_tree, wire
from vera_worker.tasks import Cause, Failure, Used

log = logging.getLogger(__name__)

#: While a task is near its limit, its stack is saved again after so many seconds.
_NOTE_AGAIN_S: Final = 1.0
#: Most that is read of a stack dump.
_STACK_BYTES: Final = 64 * 1024
_files: Final = Machine()


class Executor:
    """A process, and everything that connects us with it."""

    def __init__(
        self,
        launcher: Launcher,
        launched: Launched,
        *,
        max_output_bytes: int = 0,
        max_growth: int | None = None,
        begun: float = 0.0,
    ) -> None:
        self.launcher = launcher
        #: When it was begun to be launched.
        self.begun = begun
        self._launched = launched
        self.memory = launched.memory
        self.pid = launched.process.pid
        self.output = Output(launched.output_fd, max_output_bytes)
        self.growth = Growth(self.pid, max_growth)
        self.link: Link
        #: Why it is killed although its task had time left.
        self.broken: str | None = None
        self.running = True
        #: The task that it runs, if that may use only so much memory.
        self.limited: Assign | None = None
        self._dumped = False
        #: What it had used when somebody looked: last, and last before its task.
        self._cpu_s = self._cpu_before_s = 0.0
        #: What its task had used shortly before it was killed, or when it died; None: not known.
        self.used: Used | None = None
        #: When its stack was last written down for a case that may come, on the loop's clock.
        self._noted_at: float | None = None

    def note_cpu(self, seconds: float) -> None:
        """Take in how much CPU time it has used so far."""
        self._cpu_s = seconds

    def look(self) -> None:
        """Measure what its task has used, before it is killed."""
        cpu_s = max(0.0, tree_cpu_seconds(_files, self.pid) - self._cpu_before_s)
        self.used = Used(round(cpu_s, 2), peak_bytes(_files, self.pid))

    def note_end(self, used: Used | None) -> None:
        """It has died, and had used so much in all: what nobody had looked at before is known now.

        The peak may be that of a process which an earlier task started.
        """
        if self.used is None and used is not None:
            cpu_s = max(0.0, used.cpu_seconds - self._cpu_before_s)
            self.used = Used(round(cpu_s, 2), used.peak_bytes)

    def begin(self, assign: Assign) -> None:
        """It is about to get a task."""
        self._cpu_before_s = self._cpu_s
        self.forget_stack()
        self._limit(assign)

    def _limit(self, assign: Assign) -> None:
        """Hold it to the limit of its task, if that has one."""
        self.limited = assign if assign.memory_bytes is not None else None
        try:
            self.memory.limit(assign.memory_bytes)
        except OSError as error:
            log.warning("the memory of executor %d is sampled from now on: %s", self.pid, error)
            self.memory = Sampled(self.pid)
            self.memory.limit(assign.memory_bytes)

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
        self._write_stack()
        if self.limited is not None:
            with suppress(OSError):  # it is gone
                self.memory.relent(self.pid)

    def note_stack(self) -> None:
        """Have all stacks written down because the task may be killed before one can ask.

        Where the process has ended meanwhile, the descriptors may be others' already.
        """
        if not self.running:
            return
        now = asyncio.get_running_loop().time()
        if not self._dumped and (self._noted_at is None or now - self._noted_at > _NOTE_AGAIN_S):
            self._noted_at = now
            self._clear_stack()
            self._write_stack()

    def _write_stack(self) -> None:
        with suppress(ProcessLookupError):
            process_tree.wake_with(self.pid, STACK_SIGNAL)

    def _clear_stack(self) -> None:
        os.ftruncate(self._launched.stack_fd, 0)
        os.lseek(self._launched.stack_fd, 0, os.SEEK_SET)

    def stack(self) -> str | None:
        """Return the stacks of the present task that were written down, if any."""
        stack = os.pread(self._launched.stack_fd, _STACK_BYTES, 0)
        return stack.decode("utf-8", "replace") or None

    def asked_stack(self) -> str | None:
        """Return the stacks, unless they were only written down for a case that did not come."""
        return self.stack() if self._dumped or self._noted_at is None else None

    def stopped(self) -> Failure | None:
        """Return where a task was when it was told to stop, though it returned in the end."""
        if not self._dumped:
            return None
        return Failure(cause=Cause.TIMEOUT, message="it returned too late", stack=self.stack())

    def forget_stack(self) -> None:
        """A new task begins: the stacks of the last one are none of its business."""
        if self._dumped or self._noted_at is not None:
            self._dumped, self._noted_at = False, None
            self._clear_stack()

    def close(self) -> None:
        """Give back all descriptors."""
        self.link.close()
        self.output.close()
        os.close(self._launched.stack_fd)
        self._launched.process.close()
