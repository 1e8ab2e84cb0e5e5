"""Carries out what the scheduler decides about executors, and reports what they do."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread

from vera_supervisor.effects import Assign, Check, DumpStack, Kill, Launch, Retire, Stop
from vera_supervisor.events import (
    AttemptEnded,
    AttemptReported,
    Event,
    ExecutorAnswered,
    ExecutorLost,
    ExecutorReady,
    MemoryExceeded,
)
from vera_supervisor.pool.exits import explain
from vera_supervisor.pool.fork_servers import end_tracker
from vera_supervisor.pool.growth import Growth
from vera_supervisor.pool.launch import STACK_SIGNAL, Launched, Launcher
from vera_supervisor.pool.link import Link
from vera_supervisor.pool.memory import Sampled
from vera_supervisor.pool.outfits import Outfit
from vera_supervisor.pool.output import Output
from vera_worker import process_tree, wire
from vera_worker.errors import ModuleLoadError, WarmUpFailed
from vera_worker.fault_points import FaultPoint, reach
from vera_worker.handlers import FunctionInfo
from vera_worker.tasks import Cause, Failure, Progress

log = logging.getLogger(__name__)

#: An executor that closed its link but lives is killed after this.
_UNLINKED_S: Final = 0.2
#: Seconds between two looks at the memory of tasks that have a limit.
MEMORY_LOOK_S: Final = 0.05
#: While a task is near its limit, its stack is written down anew after so many seconds.
_NOTE_AGAIN_S: Final = 1.0
#: Most that is read of a stack dump.
_STACK_BYTES: Final = 64 * 1024
_MIB: Final = 1024 * 1024
_MS: Final = 1000.0

#: What an executor may conclude itself; all other causes are the supervisor's to see.
_CAUSES_OF_A_CHILD: Final = {
    c.value: c for c in (Cause.EXCEPTION, Cause.MEMORY, Cause.UNSERIALISABLE_RESULT)
}

Post = Callable[[Event], None]


class Pool:
    """The executor processes by slot. All methods return at once; `post` hears of the rest."""

    def __init__(
        self,
        launcher: Launcher,
        outfits: Mapping[str, Outfit],
        post: Post,
        *,
        max_result_bytes: int,
        max_output_bytes: int,
        on_start: Callable[[str, float], None] = lambda _pool, _seconds: None,
    ) -> None:
        self._launcher = launcher
        self._outfits = outfits
        self._post = post
        self._on_start = on_start
        self._max_frame_bytes = max_result_bytes + wire.ENVELOPE_BYTES
        self._max_output_bytes = max_output_bytes
        self._executors: dict[int, Executor] = {}
        #: Slots whose executor is to be killed as soon as it is there.
        self._doomed: set[int] = set()
        #: Whether the memory of tasks is being looked at.
        self._watching = False
        self._jobs: set[asyncio.Task[None]] = set()
        #: What the executors offer; known once the first of them is ready.
        self.functions: asyncio.Future[tuple[FunctionInfo, ...]] = (
            asyncio.get_running_loop().create_future()
        )

    def pids(self) -> list[int]:
        """Return the process ids of the executors that run."""
        return [executor.pid for executor in self._executors.values() if executor.running]

    def launch(self, effect: Launch) -> None:
        """Start an executor for a slot."""
        self._do(self._launch(effect))

    def assign(self, effect: Assign) -> None:
        """Send a task to the executor of a slot."""
        task, executor = effect.task, self._executors[effect.slot_id]
        executor.forget_stack()
        executor.limit(effect)
        executor.link.send(
            wire.Assign(
                task.task_id,
                effect.attempt,
                task.function,
                task.payload,
                task.timeout_s,
                effect.memory_bytes,
                effect.sandbox,
            )
        )
        if executor.limited is not None and not self._watching:
            self._watching = True
            self._do(self._watch_memory())
        reach(FaultPoint.TASK_SENT)

    def stop(self, effect: Stop) -> None:
        """Ask the running task to stop, politely: a flag to itself, SIGTERM to its children.

        The executor gets no signal: its default action would be to die before the task has ended.
        """
        executor = self._executors[effect.slot_id]
        executor.link.send(wire.Stop())
        self._do(_in_thread(process_tree.signal_descendants, executor.pid, signal.SIGTERM))

    def dump_stack(self, effect: DumpStack) -> None:
        """Have the stacks of the running task written down."""
        self._executors[effect.slot_id].dump_stack()

    def check(self, effect: Check) -> None:
        """Ask an idle executor for a sign of life."""
        self._executors[effect.slot_id].link.send(wire.Ping())

    def retire(self, effect: Retire) -> None:
        """Let an idle executor go."""
        self._executors[effect.slot_id].link.send(wire.Retire())

    def kill(self, effect: Kill) -> None:
        """Kill the executor of a slot and everything that it started."""
        self._kill(effect.slot_id)

    def _kill(self, slot_id: int) -> None:
        executor = self._executors.get(slot_id)
        if executor is None:
            self._doomed.add(slot_id)
        elif executor.running:
            self._do(_in_thread(self._launcher.kill, executor.pid))

    def output(self, slot_id: int) -> bytes:
        """Return what the task running in a slot has printed so far."""
        executor = self._executors.get(slot_id)
        return executor.output.peek() if executor is not None else b""

    async def close(self) -> None:
        """Kill all executors, wait until they are gone, and end the fork server."""
        await anyio.to_thread.run_sync(self._launcher.close)
        while self._jobs:
            await asyncio.gather(*self._jobs, return_exceptions=True)
        await anyio.to_thread.run_sync(end_tracker)

    def _do(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _launch(self, effect: Launch) -> None:
        slot_id, outfit = effect.slot_id, self._outfits[effect.pool]
        begun = _now()
        try:
            launched = await anyio.to_thread.run_sync(self._launcher.start, outfit, effect.seat)
        except (OSError, EOFError) as error:
            log.error("an executor could not be started: %s", error)  # noqa: TRY400 - no bug of ours
            self._doomed.discard(slot_id)
            self._post(ExecutorLost(slot_id, f"its executor could not be started: {error}"))
            return
        executor = Executor(launched, self._max_output_bytes, outfit.max_growth, begun)
        self._executors[slot_id] = executor
        await executor.connect(
            self._max_frame_bytes,
            partial(self._heard, effect, executor),
            partial(self._broken, slot_id),
            partial(self._unlinked, slot_id),
        )
        if slot_id in self._doomed:
            self._kill(slot_id)
        status = await executor.wait()
        await self._bury(slot_id, executor, status)

    async def _watch_memory(self) -> None:
        """Look at the memory of tasks that have a limit, for as long as there are any."""
        while limited := [e for e in self._executors.values() if e.limited and e.running]:
            await anyio.sleep(MEMORY_LOOK_S)
            for executor in limited:
                assign = executor.limited
                if assign is None or not executor.running:
                    continue
                look = await anyio.to_thread.run_sync(executor.memory.look)
                self._exceeded(assign, look.excess_bytes)
                if look.near and executor.limited is assign:
                    executor.note_stack()
        self._watching = False

    def _exceeded(self, assign: Assign, used_bytes: int | None) -> None:
        if used_bytes is not None:
            task_id = assign.task.task_id
            self._post(MemoryExceeded(assign.slot_id, task_id, assign.attempt, used_bytes))

    async def _bury(self, slot_id: int, executor: "Executor", status: int | None) -> None:
        excess_bytes = executor.memory.killed() if executor.limited is not None else None
        await anyio.to_thread.run_sync(self._launcher.sweep, executor.pid)
        del self._executors[slot_id]
        self._doomed.discard(slot_id)
        output = executor.output.take()
        stack = executor.stack() if excess_bytes is not None else executor.asked_stack()
        executor.close()
        exit_ = explain(status)
        message = executor.broken or exit_.message
        self._post(
            ExecutorLost(
                slot_id, message, exit_.exit_code, exit_.signal, output, stack, excess_bytes
            )
        )

    def _broken(self, slot_id: int, why: str) -> None:
        """A link that failed cannot be mended: an executor without one has to go."""
        executor = self._executors.get(slot_id)
        if executor is not None and executor.running:
            executor.broken = why
            self._kill(slot_id)

    def _unlinked(self, slot_id: int) -> None:
        """The usual reason is its death, which says more: wait for that a moment."""
        asyncio.get_running_loop().call_later(
            _UNLINKED_S, self._broken, slot_id, "its executor closed the link to the supervisor"
        )

    def _end_limit(self, executor: "Executor") -> None:
        """Its attempt has ended; the kernel may have killed a process of it before."""
        if executor.limited is not None:
            self._exceeded(executor.limited, executor.memory.killed())
            executor.limited = None

    def _heard(self, launch: Launch, executor: "Executor", message: wire.FromExecutor) -> None:
        slot_id = launch.slot_id
        match message:
            case wire.Returned():
                self._end_limit(executor)
                reach(FaultPoint.ANSWER_RECEIVED)
                self._post(
                    AttemptEnded(
                        slot_id,
                        message.task_id,
                        message.attempt,
                        message.result,
                        executor.stopped(),
                        executor.output.take(),
                        message.unfit or executor.growth.after_task(_now()),
                    )
                )
            case wire.Raised():
                memory_bytes = executor.limited.memory_bytes if executor.limited else None
                self._end_limit(executor)
                self._post(
                    AttemptEnded(
                        slot_id,
                        message.task_id,
                        message.attempt,
                        None,
                        _failure(message, executor.asked_stack(), memory_bytes),
                        executor.output.take(),
                        message.unfit or executor.growth.after_task(_now()),
                    )
                )
            case wire.Reported():
                progress = Progress(message.fraction, message.message)
                self._post(AttemptReported(slot_id, message.task_id, message.attempt, progress))
            case wire.Pong():
                self._post(ExecutorAnswered(slot_id, executor.growth.at_rest(_now())))
            case wire.Ready():
                executor.output.take()  # what the modules printed while they were loaded
                if not self.functions.done():
                    self.functions.set_result(message.functions)
                took_s = _now() - executor.begun
                self._on_start(launch.pool, took_s)
                log.debug(
                    "executor %d of the pool %s is ready after %.0f ms",
                    executor.pid,
                    launch.pool,
                    took_s * _MS,
                )
                self._post(ExecutorReady(slot_id))
            case wire.LoadFailed():
                error = ModuleLoadError(message.module, message.reason, message.traceback)
                executor.broken = str(error)
                log.error("%s", error)
                if not self.functions.done():
                    self.functions.set_exception(error)
            case wire.WarmUpFailed():
                failed = WarmUpFailed(message.function, message.reason, message.traceback)
                executor.broken = str(failed)
                log.error("an executor of the pool %s is not ready: %s", launch.pool, failed)


class Executor:
    """One executor process as the supervisor holds it."""

    def __init__(
        self, launched: Launched, max_output_bytes: int, max_growth: int | None, begun: float
    ) -> None:
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
        #: When its stack was last written down for a case that may come, on the loop's clock.
        self._noted_at: float | None = None

    def limit(self, assign: Assign) -> None:
        """Hold it to the limit of the task that it is about to get, if that has one."""
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
        """Have all stacks written down because the task may be killed before one can ask."""
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


def _failure(message: wire.Raised, stack: str | None, memory_bytes: int | None = None) -> Failure:
    cause = _CAUSES_OF_A_CHILD.get(message.cause, Cause.EXCEPTION)
    if cause is Cause.MEMORY and memory_bytes is None:  # nobody can have refused it any
        cause = Cause.EXCEPTION
    return Failure(
        cause=cause,
        limit_mb=memory_bytes / _MIB if cause is Cause.MEMORY and memory_bytes else None,
        message=message.message or message.exception,
        type=message.exception,
        traceback=message.traceback or None,
        stack=stack,
        duration_s=message.duration_s,
        cpu_seconds=message.cpu_seconds,
    )


async def _in_thread(call: Callable[..., Any], *args: Any) -> None:
    await anyio.to_thread.run_sync(partial(call, *args))


def _now() -> float:
    return asyncio.get_running_loop().time()
