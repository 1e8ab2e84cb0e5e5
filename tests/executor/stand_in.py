"""A stand-in for the supervisor, run as a process of its own: starts executors on demand.

Each request on its control socket carries the child's ends of link, output and stack; the answer
carries its number, the pids of executor and fork server, and a descriptor for the exit status.
At end-of-file it leaves, and the fork server with it.
"""

import json
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.process
import os
import socket
import sys
from multiprocessing.reduction import DupFd
from typing import Any

from vera_executor import fork_server, main


class _Sent:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return _received, (DupFd(self._fd),)


def _received(sent: Any) -> Any:
    return sent


def _start(settings: dict[str, Any], paths: list[str], fds: list[int]) -> tuple[int, int, int]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([fork_server.__name__])
    sys.path[:0] = paths  # the executor gets the path as it is at its start
    link = socket.socket(fileno=fds[0])
    process = context.Process(
        target=main.run,
        args=(link, _Sent(fds[1]), _Sent(fds[2]), main.Settings(**settings)),
    )
    process.start()
    del sys.path[: len(paths)]
    link.close()
    for fd in fds[1:]:
        os.close(fd)
    server: Any = multiprocessing.forkserver._forkserver
    # Or the next start() would poll this one and take the exit status that is the test's to read.
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]
    assert process.pid is not None
    return process.pid, server._forkserver_pid, os.dup(process.sentinel)


def serve(control: socket.socket, preload: str) -> None:
    """Start executors until the control socket is closed; preload modules into the fork server."""
    os.environ[fork_server.PRELOAD_VARIABLE] = preload  # read when the first executor starts
    while True:
        request, fds, _, _ = socket.recv_fds(control, 65536, 3)
        if not request:
            return
        asked = json.loads(request)
        pid, server_pid, sentinel = _start(asked["settings"], asked["paths"], fds)
        socket.send_fds(control, [f"{asked['number']} {pid} {server_pid}".encode()], [sentinel])
        os.close(sentinel)
