"""Starts executor processes; the only module of the supervisor that knows the child's code."""

import errno
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from multiprocessing.reduction import DupFd
from typing import Any, Final, NamedTuple

import msgspec

from vera_executor import fork_server, main, obituary
from vera_executor.main import STACK_SIGNAL, Settings
from vera_supervisor.pool import scratch
from vera_supervisor.pool.cgroups import Group, Groups
from vera_supervisor.pool.fork_servers import (
    ForkServer,
    Process,
    import_path,
    own_helpers,
    while_none_starts,
)
from vera_supervisor.pool.memory import MemoryControl, Sampled
from vera_supervisor.pool.outfits import Outfit
from vera_worker import process_tree
from vera_worker.errors import ModuleLoadError
from vera_worker.tasks import Used

__all__ = ["STACK_SIGNAL", "Launched", "Launcher", "Settings"]

log = logging.getLogger(__name__)

#: Killed processes are gone in milliseconds; one in uninterruptible sleep is not waited for longer.
_REAP_DEADLINE_S: Final = 1.0
_SWEEP_DEADLINE_S: Final = 0.2
_REAP_PAUSE_S: Final = 0.002
_PLAIN: Final = Outfit()


class Launched(NamedTuple):
    """A running executor and the supervisor's ends of what connects the two."""

    process: Process
    link: socket.socket
    #: Everything that its tasks print; readable until all who hold the other end are gone.
    output_fd: int
    #: Where it writes its stacks before a kill.
    stack_fd: int
    #: What holds it to the limit of its task.
    memory: MemoryControl

    def let_go(self) -> None:
        """Give back all descriptors, as nobody is going to use them."""
        _give_up(self.link, self.output_fd, self.stack_fd)
        self.process.close()


class Launcher:
    """Starts executors of one generation: from fork servers that have the task modules loaded.

    There is one for each environment, since modules may look at that while they are loaded. Its
    methods block and may be called from any thread.
    """

    def __init__(self, settings: Settings, groups: Groups | None) -> None:
        """Each executor gets one of the control groups, if any."""
        self._scratch = _scratch()
        self._sandboxes = None if self._scratch is None else self._scratch.path
        self._settings = msgspec.structs.replace(settings, sandboxes=self._sandboxes)
        #: By the variables that they have besides our own.
        self._servers: dict[frozenset[tuple[str, str]], ForkServer] = {}
        #: The files where they write which module they are importing.
        self._progress: list[str] = []
        self._lock = threading.Lock()
        self._closed = False
        #: Executors of this launcher; all other children of the fork server are orphans.
        self._executors: dict[int, Group | None] = {}
        #: The fork servers of those.
        self._homes: dict[int, ForkServer] = {}
        self._groups = groups
        # Orphans of executors fall to the fork server; should that be killed, to us.
        process_tree.become_subreaper()
        self._own_children = frozenset(process_tree.children(os.getpid()))

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the task modules."""
        return self._settings.modules

    def start(self, outfit: Outfit = _PLAIN, seat: int = 0) -> Launched:
        """Start one executor of a pool; raise OSError when the machine has no room for it.

        Where a module ends the process that imports it, raise ModuleLoadError; where it is not
        imported to its end, nothing returns before `break_off`.
        """
        settings = msgspec.structs.replace(
            self._settings, environment=outfit.variables(seat), warm_up=outfit.warm_up
        )
        server = self._server_for(outfit)
        with server.lock:
            ours, theirs = socket.socketpair()
            output_fd, their_output_fd = os.pipe2(os.O_CLOEXEC)
            stack_fd = os.memfd_create("vera-stack")
            try:
                process = server.fork(
                    main.run, (theirs, _Sent(their_output_fd), _Sent(stack_fd), settings)
                )
            except EOFError:
                _give_up(ours, output_fd, stack_fd)
                raise self._no_server() from None
            except BaseException:
                _give_up(ours, output_fd, stack_fd)
                raise
            finally:
                theirs.close()
                os.close(their_output_fd)
            self._executors[process.pid] = group = self._group_of(process.pid)
            self._homes[process.pid] = server
            memory = (group.memory if group is not None else None) or Sampled(process.pid)
            return Launched(process, ours, output_fd, stack_fd, memory)

    def break_off(self) -> None:
        """Have a `start` that waits for a module to be imported fail at once."""
        with self._lock:
            servers = list(self._servers.values())
        for server in servers:
            server.break_off()

    def kill(self, pid: int) -> None:
        """Kill a running executor and all that it started."""
        group = self._executors.get(pid)
        if group is None or not group.kill():
            process_tree.kill_tree(pid)

    def sweep(self, dead: int) -> None:
        """Kill what the dead executor left behind: orphans fall to the fork server."""
        group = self._executors.pop(dead, None)
        if group is not None:
            group.empty()
        self._sweep_orphans(dead)
        if group is not None:
            group.remove()
        if self._sandboxes is not None:
            scratch.remove(os.path.join(self._sandboxes, str(dead)))

    def obituary(self, dead: int) -> Used | None:
        """Return what an executor that ended badly had used in its life; None: nobody knows."""
        return None if self._sandboxes is None else obituary.read(self._sandboxes, dead)

    def _sweep_orphans(self, dead: int) -> None:
        home = self._homes.pop(dead)
        with home.lock:
            server = home.pid
            if server is None:
                return
            # Until they are gone, so that the next attempt does not meet them.
            deadline = time.monotonic() + _SWEEP_DEADLINE_S
            while process_tree.kill_descendants(server, spare=self._executors):
                if time.monotonic() > deadline:
                    break
                time.sleep(_REAP_PAUSE_S)
            # The server reaps an executor before it tells us of its end: so it told us nothing.
            if os.path.exists(f"/proc/{dead}"):
                self._sweep_up_after_the_server(dead)

    def close(self) -> None:
        """Kill all executors with all that they started, and end the fork servers; once."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for server in self._servers.values():
            server.stop()  # not under the lock, which is held while a module is imported
        for group in filter(None, list(self._executors.values())):
            group.remove()
        if self._scratch is not None:
            self._scratch.remove()

    def importing(self) -> str | None:
        """Return the name of the task module that a fork server is importing, if any."""
        for path in self._progress:
            with suppress(OSError), open(path, encoding="utf-8") as file:
                if name := file.read():
                    return name
        return None

    def _no_server(self) -> Exception:
        """Return why a fork server that was asked for a process has ended instead."""
        module = self.importing()
        if module is None:
            return OSError(errno.ECHILD, "the fork server has ended")
        return ModuleLoadError(module, "it ended the process that imported it")

    def _server_for(self, outfit: Outfit) -> ForkServer:
        key = frozenset(outfit.environment.items())
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the pool is closed")
            if key not in self._servers:
                variables = {
                    **outfit.environment,
                    fork_server.PRELOAD_VARIABLE: ",".join(self._settings.modules),
                    fork_server.PATH_VARIABLE: os.pathsep.join(import_path()),
                }
                if self._sandboxes is not None:
                    progress = os.path.join(self._sandboxes, f"importing-{len(self._servers)}")
                    self._progress.append(progress)
                    variables[fork_server.PROGRESS_VARIABLE] = progress
                    variables[fork_server.OBITUARIES_VARIABLE] = self._sandboxes
                self._servers[key] = ForkServer(fork_server.__name__, variables)
            return self._servers[key]

    def _group_of(self, pid: int) -> Group | None:
        if self._groups is None:
            return None
        try:
            group = self._groups.make()
            group.take(pid)
        except OSError as error:
            log.warning("executor %d has no control group of its own: %s", pid, error)
            return None
        return group

    def _sweep_up_after_the_server(self, dead: int) -> None:
        """Kill and reap what fell to us when the fork server was killed.

        The server itself is left to multiprocessing, which then starts another one.
        """
        deadline = time.monotonic() + _REAP_DEADLINE_S
        while time.monotonic() < deadline:
            with while_none_starts():
                spare = self._own_children | own_helpers()
                process_tree.kill_descendants(os.getpid(), spare=spare)
                left = set(process_tree.children(os.getpid())) - spare
                for pid in left:
                    with suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
            if not left and not os.path.exists(f"/proc/{dead}"):
                return
            time.sleep(_REAP_PAUSE_S)


def _give_up(link: socket.socket, *fds: int) -> None:
    link.close()
    for fd in fds:
        os.close(fd)


def _scratch() -> scratch.Scratch | None:
    """Return a new directory, or None where there is no place for it."""
    try:
        return scratch.Scratch()
    except OSError as error:
        log.warning("no directory for sandboxed tasks, which will fail: %s", error)
        return None


class _Sent:
    """A descriptor that is passed to a child process as an argument."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _received, (DupFd(self._fd),)


def _received(sent: Any) -> Any:
    return sent
