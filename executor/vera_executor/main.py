"""The life of an executor: load the functions, say so, then run one task after another."""

import faulthandler
import gc
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NoReturn, Protocol

import msgspec

from vera_executor import fork_server, loading, sandbox, stack_taker, warming
from vera_executor.memory_bound import memory_bound
from vera_executor.meter import Meter
from vera_executor.outcome import attempt
from vera_executor.streams import Streams
from vera_executor.surroundings import Surroundings
from vera_worker import context, process_tree, wire
from vera_worker.errors import FrameError, ModuleLoadError, SandboxUnavailable, WarmUpFailed
from vera_worker.fault_points import TASK_RAN, TASK_RECEIVED, reach
from vera_worker.framing import FrameReader
from vera_worker.tasks import Cause

#: Dumps the stacks of all threads; a real-time signal, which no library uses by habit.
STACK_SIGNAL: Final = signal.SIGRTMIN + 7

#: In the environment of all that a task starts with exec: whose process is this?
TASK_VARIABLE: Final = "VERA_TASK_ID"

#: How gladly the kernel may take an executor when memory runs out, from 0 to 1000.
OOM_SCORE: Final = 500

#: After an answer the next task is often on its way: to look for it awhile, yielding the processor
#: to whoever wants it, is cheaper for both sides than to fall asleep and be woken.
_LOOK_OUT_S: Final = 60e-6
#: Where that was in vain, as on a busy machine, so many tasks are waited for asleep before it is
#: tried again.
_SLEEPS: Final = 8
_STANDARD_FDS: Final = (0, 1, 2)
_RECEIVE_BYTES: Final = 64 * 1024  # more would be mapped and unmapped by malloc every time


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor is told when it starts."""

    modules: tuple[str, ...]
    max_payload_bytes: int
    max_result_bytes: int
    #: How much nicer than the supervisor this process and all that it starts are.
    nice: int = 0
    #: Where sandboxed attempts have their directories.
    sandboxes: str | None = None
    #: Variables that are set before the modules are loaded.
    environment: Mapping[str, str] = {}
    #: Functions by which pools warm up: all that there are, and the one that is called here.
    warm_ups: tuple[str, ...] = ()
    warm_up: str | None = None


class SentFd(Protocol):
    """A descriptor on its way into the child."""

    def detach(self) -> int:
        """Return it as this process's own."""


def run(link: socket.socket, output: SentFd, stack: SentFd, settings: Settings) -> NoReturn:
    """Serve tasks from `link` until it closes.

    `output` takes what tasks print, `stack` the stacks that are dumped before a kill.
    """
    fork_server.leave_to_the_server()
    os.setsid()  # out of reach of the terminal's Ctrl-C: the supervisor decides who stops
    process_tree.become_subreaper()
    _offer_to_the_oom_killer()
    _give_way(settings.nice)
    streams, stack_fd = Streams(output.detach()), stack.detach()
    _keep_from_subprocesses()
    faulthandler.enable(stack_fd)
    faulthandler.register(STACK_SIGNAL, file=stack_fd, all_threads=True)
    stack_taker.start(STACK_SIGNAL)
    channel = Channel(link, settings.max_payload_bytes + wire.ENVELOPE_BYTES)
    try:
        handlers = _load(settings)
    except ModuleLoadError as error:
        streams.flush()
        channel.send(wire.LoadFailed(error.module, error.reason, error.traceback))
        leave()
    except WarmUpFailed as error:
        streams.flush()
        channel.send(wire.WarmUpFailed(error.function, error.reason, error.traceback))
        leave()
    streams.restore()
    gc.freeze()  # what is loaded stays: no collection need look at it
    os.register_at_fork(after_in_child=channel.after_fork)
    executor = Executor(channel, handlers, streams, settings)
    channel.send(wire.Ready(os.getpid(), tuple(h.info for h in handlers.values())))
    executor.serve()
    leave()


def _load(settings: Settings) -> dict[str, loading.Handler]:
    os.environ.update(settings.environment)
    handlers = loading.load(settings.modules)
    for name in settings.warm_ups:  # those of other pools too: one that is not there is told early
        warming.find(name)
    if settings.warm_up is not None:
        warming.warm_up(settings.warm_up)
    return handlers


def _offer_to_the_oom_killer() -> None:
    """Where the machine runs out of memory, this process goes before those that it runs beside."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
        if int(file.read()) < OOM_SCORE:
            file.write(str(OOM_SCORE))


def _give_way(increment: int) -> None:
    """Where the processors do not suffice, the supervisor comes first: it feeds the others.

    Where the kernel groups processes by session it heeds the niceness of sessions instead; without
    privileges it lets that be set ten times a second only, and then this one stays as it is.
    """
    nice = os.nice(increment)
    with suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:
        file.write(str(nice))


def _keep_from_subprocesses() -> None:
    """Close all but the standard streams on exec: what the fork server handed over would stay."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # that of the listing itself
            os.set_inheritable(fd, fd in _STANDARD_FDS)


class Channel:
    """The child's blocking end of the link."""

    def __init__(self, link: socket.socket, max_payload_bytes: int) -> None:
        link.settimeout(None)  # a task module may have set another default for new sockets
        self._link = link
        self._frames = FrameReader(max_payload_bytes)
        self._received: deque[wire.ToExecutor] = deque()
        self._readable = select.poll()
        self._readable.register(link, select.POLLIN)
        #: How many more messages are to be waited for asleep.
        self._sleeps = 0

    def send(self, message: wire.FromExecutor) -> None:
        """Send `message` whole; where the link is gone, so is the reason to live."""
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
        """Let go of the link in a process that a task forked: two would speak at once."""
        context.after_fork()
        self._link.close()

    def _look_out(self) -> None:
        """Wait awhile for something to come, if that was worth it of late."""
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


class Executor:
    """Runs one task at a time and keeps the process fit for the next."""

    def __init__(
        self,
        channel: Channel,
        handlers: dict[str, loading.Handler],
        streams: Streams,
        settings: Settings,
    ) -> None:
        self._channel = channel
        self._handlers = handlers
        self._streams = streams
        self._settings = settings
        self._surroundings = Surroundings()
        self._meter = Meter()
        self._environment = os.environ  # a task may put another object there

    def serve(self) -> None:
        """Do what the supervisor says until it says Retire."""
        while True:
            message = self._channel.receive()
            match message:
                case wire.Assign():
                    self._channel.send(self._run(message))
                case wire.Stop():
                    pass  # it came too late: that task has ended
                case wire.Ping():
                    self._channel.send(wire.Pong())
                case wire.Retire():
                    return

    def _run(self, assign: wire.Assign) -> wire.Returned | wire.Raised:
        handler = self._handlers.get(assign.function)
        if handler is None:
            message = f"function {assign.function!r} is not registered in this executor"
            return _not_run(assign, "UnknownFunction", message)
        if assign.sandbox is not None:
            try:
                sandbox.enter(assign.sandbox, self._settings.sandboxes)
            except SandboxUnavailable as error:
                return _not_run(assign, type(error).__name__, str(error))
        current = context.TaskContext(
            assign.task_id,
            assign.attempt,
            assign.timeout_s,
            send_progress=lambda fraction, message: self._channel.send(
                wire.Reported(assign.task_id, assign.attempt, fraction, message)
            ),
            poll_stop=self._channel.stop_received,
        )
        context.enter(current)
        self._environment[TASK_VARIABLE] = assign.task_id
        reach(TASK_RECEIVED)
        try:
            with memory_bound(assign.memory_bytes):
                outcome = attempt(
                    assign, handler.function, self._settings.max_result_bytes, self._meter
                )
        finally:
            context.enter(None)
        reach(TASK_RAN)
        current.end()
        self._streams.restore()
        unfit = self._surroundings.restore()
        if unfit is None and not self._streams.intact:
            unfit = "the task closed or replaced one of its standard streams"
        return outcome if unfit is None else msgspec.structs.replace(outcome, unfit=unfit)


def leave() -> NoReturn:
    """End this process and all that it started, at once and without clean-up of a task's code."""
    process_tree.kill_descendants(os.getpid())
    os._exit(0)


def _not_run(assign: wire.Assign, exception: str, message: str) -> wire.Raised:
    return wire.Raised(
        assign.task_id, assign.attempt, Cause.EXCEPTION, exception, message, "", 0.0, None
    )
