"""The fork server as an executor sees it: the parent that must notice when the supervisor dies."""

import multiprocessing.forkserver
import os
from typing import Any, Final

from vera_worker import process_tree

#: The fork server's pid: it has this module loaded, and every executor that it forks inherits that.
PID: Final = os.getpid()


def leave_to_the_server() -> None:
    """Let the server see the supervisor's death, and die with the server.

    The server notices the supervisor's death as end-of-file on a pipe. multiprocessing hands every
    child the write end of that pipe: as long as an executor kept it open, the server would live on.
    """
    _let_go()
    process_tree.die_with_parent()
    if os.getppid() != PID:
        os._exit(0)


def forget_own_server() -> None:
    """Let the next task that uses multiprocessing start a fork server of its own.

    The one that the last task started was killed with everything else it left behind, and
    multiprocessing would wait for it in vain and fail.
    """
    server = _server()
    if server._forkserver_pid is not None:  # noqa: SLF001
        _let_go()
        server._forkserver_pid = server._forkserver_address = None  # noqa: SLF001


def _let_go() -> None:
    server = _server()
    if server._forkserver_alive_fd is not None:  # noqa: SLF001
        os.close(server._forkserver_alive_fd)  # noqa: SLF001
        server._forkserver_alive_fd = None  # noqa: SLF001


def _server() -> Any:
    return multiprocessing.forkserver._forkserver  # noqa: SLF001 - there is no public way to it
