"""Carries out what the scheduler decides about executors, and reports what they do."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread

from vera_supervisor.host.machine import Machine
from vera_supervisor.host.processes import cpu_seconds
from vera_supervisor.pool.executor import Executor
from vera_supervisor.pool.exits import explain
from vera_supervisor.pool.fork_servers import end_tracker
from vera_supervisor.pool.generations import Generation, Generations
from vera_supervisor.pool.launch import Launcher
from vera_supervisor.pool.trial import Candidate
from vera_supervisor.scheduling.certificates import with_use
from vera_supervisor.scheduling.effects import Assign, Check, DumpStack, Kill, Launch, Retire, Stop
from vera_supervisor.scheduling.events import (
    AttemptEnded,
    AttemptReported,
    Event,
    ExecutorAnswered,
    ExecutorLost,
    ExecutorReady,
    MemoryExceeded,
)
from vera_supervisor.scheduling.slot import VANISH_S
from vera_worker import process_tree, wire
from vera_worker.errors import ModuleLoadError, WarmUpFailed
from vera_worker.fault_points import ANSWER_RECEIVED, TASK_SENT, reach
from vera_worker.tasks import Cause, Failure, Progress

log = logging.getLogger(__name__)

#: What is known of a killed executor that is still there is told after this, in time.
_LAST_WORD_S: Final = VANISH_S * 2 / 3
#: An executor that closed its link but lives is killed after this.
_UNLINKED_S: Final = 0.2
#: Executors of a pool that are forked at once: a start may hang for long, and takes a thread of
#: those that are needed to kill others. A fork server forks one after the other anyway.
_STARTS_AT_ONCE: Final = 2
#: Seconds between two looks at the memory of tasks that have a limit.
MEMORY_LOOK_S: Final = 0.05
_MIB: Final = 1024 * 1024
_MS: Final = 1000.0

#: What an executor may conclude itself; all other causes are the supervisor's to see.
_CAUSES_OF_A_CHILD: Final = {
    c.value: c for c in (Cause.EXCEPTION, Cause.MEMORY, Cause.UNSERIALISABLE_RESULT)
}

Post = Callable[[Event], None]


class Pool:
    """The executor processes by slot. All methods return at once; `post` hears of the rest.

    None is started before a generation of code was adopted.
    """

    def __init__(
        self,
        post: Post,
        *,
        max_result_bytes: int,
        max_output_bytes: int,
        on_start: Callable[[str, float], None] = lambda _pool, _seconds: None,
    ) -> None:
        self._post = post
        self._on_start = on_start
        self._max_frame_bytes = max_result_bytes + wire.ENVELOPE_BYTES
        self._max_output_bytes = max_output_bytes
        self._executors: dict[int, Executor] = {}
        #: What starts the executors that are not there yet, by slot.
        self._launching: dict[int, Launcher] = {}
        #: How many more may be on their way, by the name of the scheduler's pool.
        self._starts: dict[str, anyio.CapacityLimiter] = {}
        #: Slots whose executor is to be killed as soon as it is there.
        self._doomed: set[int] = set()
        #: Whether the memory of tasks is being looked at.
        self._watching = False
        self._closing = False
        self._jobs: set[asyncio.Task[None]] = set()
        self._generations = Generations(lambda launcher: self._do(_in_thread(launcher.close)))

    def adopt(self, code: Candidate) -> None:
        """Have all new executors run `code`; those that there are go when they have no task."""
        self._generations.adopt(code)

    def pids(self) -> list[int]:
        """Return the process ids of the executors that run."""
        return [executor.pid for executor in self._executors.values() if executor.running]

    def note_cpu(self, seconds_of: Mapping[int, float]) -> None:
        """Take in how much CPU time executors have used so far, by process id."""
        for executor in self._executors.values():
            seconds = seconds_of.get(executor.pid)
            if seconds is not None:
                executor.note_cpu(seconds)

    def launch(self, effect: Launch) -> None:
        """Start an executor for a slot."""
        self._do(self._launch(effect, self._generations.begin()))

    def assign(self, effect: Assign) -> None:
        """Send a task to the executor of a slot."""
        task, executor = effect.task, self._executors[effect.slot_id]
        executor.begin(effect)
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
        reach(TASK_SENT)

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
            # It may be that it is waited for because a module cannot be imported to its end.
            if slot_id in self._launching:
                self._do(_in_thread(self._launching[slot_id].break_off))
        elif executor.running:
            executor.look()
            self._do(_in_thread(executor.launcher.kill, executor.pid))
            loop = asyncio.get_running_loop()
            loop.call_later(_LAST_WORD_S, self._say_what_is_known, slot_id, executor)

    def _say_what_is_known(self, slot_id: int, executor: Executor) -> None:
        """If the process is still there, with a large tree or for ever, do not wait for its end.

        The scheduler is about to give it up, and knows nothing of what happened there.
        """
        if executor.running:
            message, killed = "the executor was killed but does not vanish", signal.SIGKILL.name
            output, stack = executor.output.peek(), executor.stack()
            lost = ExecutorLost(slot_id, message, None, killed, output, stack, None, executor.used)
            self._post(lost)

    def output(self, slot_id: int) -> bytes:
        """Return what the task running in a slot has printed so far."""
        executor = self._executors.get(slot_id)
        return executor.output.peek() if executor is not None else b""

    async def close(self) -> None:
        """Kill all executors, wait until they are gone, and end the fork servers."""
        self._closing = True
        for generation in self._generations:
            self._do(_in_thread(generation.launcher.close))
        while self._jobs:
            await asyncio.gather(*self._jobs, return_exceptions=True)
        await anyio.to_thread.run_sync(end_tracker)

    def _do(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _launch(self, effect: Launch, generation: Generation) -> None:
        try:
            await self._live(effect, generation)
        finally:
            self._generations.end(generation)

    async def _live(self, effect: Launch, generation: Generation) -> None:
        """Start an executor, and be there for it until it has ended."""
        slot_id, launcher = effect.slot_id, generation.launcher
        outfit = generation.outfits[effect.pool]
        begun = _now()
        self._launching[slot_id] = launcher
        try:
            room = self._starts.setdefault(effect.pool, anyio.CapacityLimiter(_STARTS_AT_ONCE))
            launched = await anyio.to_thread.run_sync(
                launcher.start, outfit, effect.seat, limiter=room
            )
        except (OSError, ModuleLoadError) as error:
            if not self._closing:  # else it was we who kept it from starting
                log.error("an executor could not be started: %s", error)  # noqa: TRY400 - no bug of ours
            self._doomed.discard(slot_id)
            self._post(ExecutorLost(slot_id, f"its executor could not be started: {error}"))
            return
        finally:
            del self._launching[slot_id]
        executor = Executor(
            launcher,
            launched,
            max_output_bytes=self._max_output_bytes,
            max_growth=outfit.max_growth,
            begun=begun,
        )
        self._executors[slot_id] = executor
        await executor.connect(
            self._max_frame_bytes,
            partial(self._heard, effect, generation, executor),
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

    async def _bury(self, slot_id: int, executor: Executor, status: int | None) -> None:
        excess_bytes = executor.memory.killed() if executor.limited is not None else None
        await anyio.to_thread.run_sync(executor.launcher.sweep, executor.pid)
        executor.note_end(executor.launcher.obituary(executor.pid))
        del self._executors[slot_id]
        self._doomed.discard(slot_id)
        output = executor.output.take()
        stack = executor.stack() if excess_bytes is not None else executor.asked_stack()
        executor.close()
        exit_ = explain(status)
        message = executor.broken or exit_.message
        self._post(
            ExecutorLost(
                slot_id,
                message,
                exit_.exit_code,
                exit_.signal,
                output,
                stack,
                excess_bytes,
                executor.used,
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

    def _end_limit(self, executor: Executor) -> None:
        """Its attempt has ended; the kernel may have killed a process of it before."""
        if executor.limited is not None:
            self._exceeded(executor.limited, executor.memory.killed())
            executor.limited = None

    def _heard(
        self,
        launch: Launch,
        generation: Generation,
        executor: Executor,
        message: wire.FromExecutor,
    ) -> None:
        slot_id = launch.slot_id
        match message:
            case wire.Returned():
                self._end_limit(executor)
                reach(ANSWER_RECEIVED)
                self._post(
                    AttemptEnded(
                        slot_id,
                        message.task_id,
                        message.attempt,
                        message.result,
                        executor.stopped(),
                        executor.output.take(),
                        message.unfit or executor.growth.after_task(_now()),
                        message.used,
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
                        message.used,
                    )
                )
            case wire.Reported():
                progress = Progress(message.fraction, message.message)
                self._post(AttemptReported(slot_id, message.task_id, message.attempt, progress))
            case wire.Pong():
                self._post(ExecutorAnswered(slot_id, executor.growth.at_rest(_now())))
            case wire.Ready():
                self._ready(launch, executor)
                generation.compare(message.functions)
                self._post(ExecutorReady(slot_id))
            case wire.LoadFailed():
                error = ModuleLoadError(message.module, message.reason, message.traceback)
                executor.broken = str(error)
                log.error("%s", error)
            case wire.WarmUpFailed():
                failed = WarmUpFailed(message.function, message.reason, message.traceback)
                executor.broken = str(failed)
                log.error("an executor of the pool %s is not ready: %s", launch.pool, failed)

    def _ready(self, launch: Launch, executor: Executor) -> None:
        executor.note_cpu(cpu_seconds(Machine(), executor.pid))
        executor.output.take()  # what the modules printed while they were loaded
        took_s = _now() - executor.begun
        self._on_start(launch.pool, took_s)
        log.debug(
            "executor %d of the pool %s is ready after %.0f ms",
            executor.pid,
            launch.pool,
            took_s * _MS,
        )


def _failure(message: wire.Raised, stack: str | None, memory_bytes: int | None = None) -> Failure:
    cause = _CAUSES_OF_A_CHILD.get(message.cause, Cause.EXCEPTION)
    if cause is Cause.MEMORY and memory_bytes is None:  # nobody can have refused it any
        cause = Cause.EXCEPTION
    failure = Failure(
        cause=cause,
        limit_mb=memory_bytes / _MIB if cause is Cause.MEMORY and memory_bytes else None,
        message=message.message or message.exception,
        type=message.exception,
        traceback=message.traceback or None,
        stack=stack,
        duration_s=message.duration_s,
    )
    return with_use(failure, message.used)


async def _in_thread(call: Callable[..., Any], *args: Any) -> None:
    await anyio.to_thread.run_sync(partial(call, *args))


def _now() -> float:
    return asyncio.get_running_loop().time()
