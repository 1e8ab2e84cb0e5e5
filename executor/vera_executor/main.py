"""The life of an executor: load the functions, say so, then run one task after another."""

import faulthandler
import gc
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NoReturn, Protocol

import msgspec

from vera_executor import loading, parent, sandbox, stack_taker, warming
from vera_executor.channel import Channel, leave
from vera_executor.memory_bound import memory_bound
from vera_executor.meter import Meter
from vera_executor.outcome import attempt
from vera_executor.streams import Streams
from vera_executor.surroundings import Surroundings
from vera_worker import context, process_tree, wire
from vera_worker.errors import ModuleLoadError, SandboxUnavailable, WarmUpFailed
from vera_worker.fault_points import TASK_RAN, TASK_RECEIVED, reach
from vera_worker.tasks import Cause

#: Dumps the stacks of all threads; a real-time signal, which no library uses by habit.
STACK_SIGNAL: Final = signal.SIGRTMIN + 7

#: Tells every program that a task starts which task it belongs to.
TASK_VARIABLE: Final = "VERA_TASK_ID"

#: How readily the kernel kills an executor when memory runs out, from 0 to 1000.
OOM_SCORE: Final = 500

_STANDARD_FDS: Final = (0, 1, 2)


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
    #: The warm-up functions of all pools, and the one that this executor calls.
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
    parent.leave_to_the_server()
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
    gc.freeze()  # what is loaded stays: the collector need not look at it
    os.register_at_fork(after_in_child=channel.after_fork)
    executor = Executor(channel, handlers, streams, settings)
    channel.send(wire.Ready(os.getpid(), tuple(h.info for h in handlers.values())))
    executor.serve()
    leave()


def _load(settings: Settings) -> dict[str, loading.Handler]:
    os.environ.update(settings.environment)
    handlers = loading.load(settings.modules)
    for name in settings.warm_ups:  # those of other pools too: a missing one is reported early
        warming.find(name)
    if settings.warm_up is not None:
        warming.warm_up(settings.warm_up)
    return handlers


def _offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, have the kernel kill this process before its peers."""
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
    """Have subprocesses inherit the standard streams only, not what the fork server handed over."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # that of the listing itself
            os.set_inheritable(fd, fd in _STANDARD_FDS)


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


def _not_run(assign: wire.Assign, exception: str, message: str) -> wire.Raised:
    return wire.Raised(
        assign.task_id, assign.attempt, Cause.EXCEPTION, exception, message, "", 0.0, None
    )
