"""A fork server for each generation of task code, and the processes that it forks.

multiprocessing has one fork server per process, which keeps the modules that it imported first for
ever. Ours are further objects of its class. Each has its own pipe by which it learns of our end, so
each kills its executors then, and can leave while the others stay (docs/decisions/0001 and 0006).
"""

import errno
import io
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver, popen_forkserver, reduction, resource_tracker, spawn, util
from multiprocessing.context import ForkServerProcess, set_spawning_popen
from typing import Any, Final

from vera_worker import process_tree

#: A server that was told to leave does so at once, unless it still imports or its modules hold it.
_LEAVE_S: Final = 2.0
_PAUSE_S: Final = 0.002
#: Held while a server is started: the environment that it gets is ours for that long.
_starting = threading.Lock()
_all: "set[ForkServer]" = set()


class ForkServer(forkserver.ForkServer):
    """Forks processes that have `modules` loaded; raises OSError or EOFError where it cannot.

    It is started by the first `fork`, and again after it was killed. `environment` is given to it
    besides our own. Its methods block and may be called from any thread.
    """

    def __init__(self, guardian: str, environment: dict[str, str]) -> None:
        super().__init__()
        self.set_forkserver_preload([guardian])
        #: Held while it forks a process, and until that is known to be no orphan.
        self.lock = threading.Lock()
        self._environment = environment
        self._stopped = False
        #: The server that has forked something, and so has imported everything.
        self._loaded_pid: int | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the server, if there is one."""
        pid: int | None = self._forkserver_pid
        return pid

    def fork(self, target: Callable[..., object], args: tuple[object, ...]) -> "Process":
        """Return a new process; one in which a module hangs keeps us until `break_off`."""
        process = Process(self, target, args)
        self._loaded_pid = self.pid
        return process

    def ensure_running(self) -> None:
        """Start the server, unless it runs."""
        with _starting:
            if self._stopped:
                raise OSError(errno.ESHUTDOWN, "the fork server was stopped")
            _all.add(self)
            ours = {name: os.environ.get(name) for name in self._environment}
            os.environ.update(self._environment)
            try:
                super().ensure_running()
            finally:
                for name, value in ours.items():
                    if value is None:
                        del os.environ[name]
                    else:
                        os.environ[name] = value

    def break_off(self) -> None:
        """Kill the server if it is still importing: whoever waits in `fork` gets an EOFError."""
        pid = self.pid
        if pid is not None and pid != self._loaded_pid:
            process_tree.kill_tree(pid)

    def stop(self) -> None:
        """End the server and everything it forked, even if it hangs; it is not started again."""
        with _starting:
            self._stopped = True
            pid = self.pid
        if pid is None:
            return
        process_tree.kill_descendants(pid)
        os.close(self._forkserver_alive_fd)  # type: ignore[attr-defined]  # asks it to leave
        if not _reaped(pid, _LEAVE_S):
            process_tree.kill_tree(pid)
            _reaped(pid, _LEAVE_S)
        with _starting:
            self._forkserver_pid = None
            _all.discard(self)


class Process(popen_forkserver.Popen):
    """A forked process; `sentinel` turns readable when it has ended."""

    pid: int
    sentinel: int
    _fds: list[int]

    def __init__(
        self, server: ForkServer, target: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        self._server = server
        super().__init__(ForkServerProcess(target=target, args=args))

    def _launch(self, process_obj: Any) -> None:
        """Do as multiprocessing does, with a server that is not its only one."""
        data = spawn.get_preparation_data(process_obj.name)
        # Our own main module is of no use to the child, which would import it.
        data = {name: data[name] for name in data if not name.startswith("init_main_from")}
        data["sys_path"] = import_path()
        buffer = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(data, buffer)
            reduction.dump(process_obj, buffer)
        finally:
            set_spawning_popen(None)
        self.sentinel, writer = self._server.connect_to_new_process(self._fds)
        # The child sees by the other end of that whether its parent is still there.
        kept = os.dup(writer)
        self.finalizer = util.Finalize(self, _close, (kept, self.sentinel))
        with open(writer, "wb") as file:
            file.write(buffer.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)  # waits while the server imports


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def import_path() -> list[str]:
    """Return where task modules are looked for: as we do, and in the working directory last."""
    path, here = [entry or os.getcwd() for entry in sys.path], os.getcwd()
    return path if here in path else [*path, here]


def own_helpers() -> set[int]:
    """Return the pids of all fork servers, and of multiprocessing's resource tracker."""
    pids = (_tracker()._pid, *(server.pid for server in _all))  # noqa: SLF001
    return {pid for pid in pids if pid is not None}


def end_tracker() -> None:
    """End multiprocessing's resource tracker, which would outlive us by a moment."""
    _tracker()._stop()  # noqa: SLF001


def reap_orphans() -> None:
    """Reap orphans that have ended: in a container they all become children of process 1."""
    with _starting:
        for pid in set(process_tree.children(os.getpid())) - own_helpers():
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def while_none_starts() -> threading.Lock:
    """Return what is to be held while those that are not `own_helpers` are killed."""
    return _starting


def _tracker() -> Any:
    return resource_tracker._resource_tracker  # noqa: SLF001 - there is no public way


def _reaped(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    with suppress(ChildProcessError):
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)
    return True
