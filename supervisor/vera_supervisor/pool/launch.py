"""Starts executor processes; the only module of the supervisor that knows the child's code."""

import errno
import logging
import multiprocessing
import multiprocessing.forkserver
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.reduction import DupFd
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec

from vera_executor import fork_server, main
from vera_executor.main import STACK_SIGNAL, Settings
from vera_supervisor.pool.cgroups import Group, own_groups
from vera_worker import process_tree

__all__ = ["STACK_SIGNAL", "Launched", "Launcher", "Settings"]

log = logging.getLogger(__name__)

#: Killed processes are gone in milliseconds; one in uninterruptible sleep is not waited for longer.
_REAP_DEADLINE_S: Final = 1.0
_SWEEP_DEADLINE_S: Final = 0.2
_REAP_PAUSE_S: Final = 0.002


class Launched(NamedTuple):
    """A running executor and the supervisor's ends of what connects the two."""

    process: ForkServerProcess
    link: socket.socket
    #: Everything that its tasks print; readable until all who hold the other end are gone.
    output_fd: int
    #: Where it writes its stacks before a kill.
    stack_fd: int


class Launcher:
    """Starts executors from one fork server, which has the task modules loaded.

    Its methods block and may be called from any thread.
    """

    def __init__(self, settings: Settings, *, preload: bool = True) -> None:
        self._sandboxes = _make_directory()
        self._settings = msgspec.structs.replace(settings, sandboxes=self._sandboxes)
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([fork_server.__name__])
        self._preload = settings.modules if preload else ()
        self._lock = threading.Lock()
        self._closed = False
        #: Executors of this launcher; all other children of the fork server are orphans.
        self._executors: dict[int, Group | None] = {}
        self._groups = own_groups()
        # Orphans of executors fall to the fork server; should that be killed, to us.
        process_tree.become_subreaper()
        self._own_children = frozenset(process_tree.children(os.getpid()))

    def start(self) -> Launched:
        """Start one executor; raise OSError when the machine has no room for it."""
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the pool is closed")
            ours, theirs = socket.socketpair()
            output_fd, their_output_fd = os.pipe2(os.O_CLOEXEC)
            stack_fd = os.memfd_create("vera-stack")
            try:
                with _lean_environment(self._preload):
                    process = self._context.Process(
                        target=main.run,
                        args=(theirs, _Sent(their_output_fd), _Sent(stack_fd), self._settings),
                    )
                    process.start()
            except BaseException:
                ours.close()
                os.close(output_fd)
                os.close(stack_fd)
                raise
            finally:
                theirs.close()
                os.close(their_output_fd)
            assert process.pid is not None
            self._executors[process.pid] = self._group_of(process.pid)
            return Launched(process, ours, output_fd, stack_fd)

    def kill(self, pid: int) -> None:
        """Kill a running executor and all that it started."""
        group = self._executors.get(pid)
        if group is not None:
            group.kill()
        else:
            process_tree.kill_tree(pid)

    def sweep(self, dead: int) -> None:
        """Kill what the dead executor left behind: orphans fall to the fork server."""
        group = self._executors.pop(dead, None)
        if group is not None:
            group.remove()
        if self._sandboxes is not None:
            _remove(os.path.join(self._sandboxes, str(dead)))
        with self._lock:
            server = _server_pid()
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

    def bury_strangers(self) -> None:
        """Reap what has ended of what fell to us: to process 1 of a container all orphans do."""
        with self._lock:
            for pid in set(process_tree.children(os.getpid())) - self._own():
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def close(self) -> None:
        """Kill all executors with all that they started, and end the fork server."""
        with self._lock:
            self._closed = True
            server = _server_pid()
            if server is not None:
                process_tree.kill_descendants(server)
                _server()._stop()  # noqa: SLF001
            # Else it would outlive us by a moment, and the service manager would kill it.
            _resource_tracker()._stop()  # noqa: SLF001
        if self._sandboxes is not None:
            _remove(self._sandboxes)

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

    def _own(self) -> frozenset[int]:
        """Return the children that are left to who started them."""
        return self._own_children.union(filter(None, (_server_pid(), _resource_tracker_pid())))

    def _sweep_up_after_the_server(self, dead: int) -> None:
        """Kill and reap what fell to us when the fork server was killed.

        The server itself is left to multiprocessing, which then starts another one.
        """
        spare = self._own()
        deadline = time.monotonic() + _REAP_DEADLINE_S
        while time.monotonic() < deadline:
            process_tree.kill_descendants(os.getpid(), spare=spare)
            left = set(process_tree.children(os.getpid())) - spare
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            if not left and not os.path.exists(f"/proc/{dead}"):
                return
            time.sleep(_REAP_PAUSE_S)


def _make_directory() -> str | None:
    """Return a new directory that only this user can enter; None where there is no place for it."""
    try:
        return tempfile.mkdtemp(prefix="vera-worker-")
    except OSError as error:
        log.warning("no directory for sandboxed tasks, which will fail: %s", error)
        return None


def _remove(directory: str) -> None:
    """Remove a directory with all that is in it, though a task may have locked parts of it."""
    shutil.rmtree(directory, ignore_errors=True)
    if os.path.exists(directory):
        for path, _, _ in os.walk(directory):
            with suppress(OSError):
                os.chmod(path, stat.S_IRWXU)
        shutil.rmtree(directory, ignore_errors=True)


class _Sent:
    """A descriptor as an argument of a child process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _received, (DupFd(self._fd),)


def _received(sent: Any) -> Any:
    return sent


def _server() -> Any:
    return multiprocessing.forkserver._forkserver  # noqa: SLF001 - there is no public way to it


def _server_pid() -> int | None:
    pid: int | None = _server()._forkserver_pid  # noqa: SLF001
    return pid


def _resource_tracker() -> Any:
    return resource_tracker._resource_tracker  # noqa: SLF001 - nor to this


def _resource_tracker_pid() -> int | None:
    pid: int | None = _resource_tracker()._pid  # noqa: SLF001
    return pid


@contextmanager
def _lean_environment(preload: tuple[str, ...]) -> Iterator[None]:
    """Keep the supervisor's main module out of its children, who have no use for it.

    multiprocessing would import it in each of them: time and memory for nothing. The fork server,
    if it is started now, reads the names of the modules that it is to load.
    """
    real = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ[fork_server.PRELOAD_VARIABLE] = ",".join(preload)
    try:
        yield
    finally:
        sys.modules["__main__"] = real
        with suppress(KeyError):
            del os.environ[fork_server.PRELOAD_VARIABLE]
