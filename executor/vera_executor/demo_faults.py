"""Functions that misbehave, for tests and the torture command: never configure them for real work.

Each is bounded in time, memory and processes, so it does no lasting harm without a supervisor.
"""

import asyncio
import ctypes
import io
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from vera_worker import wire

#: What hangs "for ever" ends by itself after this.
FOREVER_S: Final = 600
#: Bounds of a fork bomb.
MAX_BOMB: Final = 512
_MEBIBYTE: Final = 1024 * 1024
_PAGE_BYTES: Final = 4096
_libc: Final = ctypes.CDLL(None)


# Hanging


def hang_in_c() -> None:
    """Sleep in C for ever."""
    time.sleep(FOREVER_S)


def hang_holding_gil() -> None:
    """Sleep in C for ever and hold the interpreter lock, so that no other thread can run."""
    end = time.monotonic() + FOREVER_S
    while (left := end - time.monotonic()) > 0:  # every signal ends a sleep in C
        ctypes.PyDLL(None).sleep(int(left) + 1)


def hang_in_regex() -> None:
    """Match a regular expression whose time doubles with each letter; minutes for these."""
    re.match(r"(a|a)+$", "a" * 30 + "b")


def hang_blocking_signals() -> None:
    """Block every signal that can be blocked and sleep for ever."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(FOREVER_S)


def busy_loop() -> None:
    """Compute for ever in Python."""
    end = time.monotonic() + FOREVER_S
    while time.monotonic() < end:
        pass


def return_late(seconds: float) -> str:
    """Ignore every request to stop, then return."""
    time.sleep(min(seconds, FOREVER_S))
    return "late"


# Dying


def segfault() -> None:
    """Read from address 0."""
    ctypes.string_at(0)


def kill_self() -> None:
    """Die of SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop_self() -> None:
    """Stop with SIGSTOP, as under a debugger."""
    os.kill(os.getpid(), signal.SIGSTOP)


def os_exit(code: int = 3) -> NoReturn:
    """Leave the process without a word."""
    os._exit(code)


def sys_exit(code: int = 3) -> NoReturn:
    """Raise SystemExit, which ends the task and not the process."""
    sys.exit(code)


def print_then_die(text: str) -> None:
    """Print a line, flush nothing, die of SIGKILL."""
    print(text)
    os.kill(os.getpid(), signal.SIGKILL)


# Memory


def balloon(megabytes: int, children: int = 0, hold_s: float = 0.0) -> int:
    """Fill memory in this process and in each of some children; return how many MiB in all."""
    return balloon_tree(megabytes, depth=1, width=children, hold_s=hold_s)


def balloon_tree(megabytes: int, depth: int = 1, width: int = 2, hold_s: float = 0.0) -> int:
    """Fill memory in every process of a tree; return how many MiB in all."""
    processes = sum(int(width**level) for level in range(depth + 1))
    _check_room(megabytes * processes, processes)
    _inflate(megabytes, depth, width, min(hold_s, FOREVER_S))
    return megabytes * processes


def _inflate(megabytes: int, depth: int, width: int, hold_s: float) -> None:
    def below() -> None:
        _inflate(megabytes, depth - 1, width, hold_s)

    pids = [_fork(below) for _ in range(width if depth > 0 else 0)]
    block = bytearray(megabytes * _MEBIBYTE)
    block[::_PAGE_BYTES] = bytes(len(range(0, len(block), _PAGE_BYTES)))  # touch every page
    time.sleep(hold_s)
    for pid in pids:
        os.waitpid(pid, 0)


def _check_room(megabytes: int, processes: int) -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    if megabytes > available // 1024 // 2 or processes > MAX_BOMB:
        raise ValueError(f"{megabytes} MiB in {processes} processes would hurt this machine")


# Processes


def spawn_daemon(seconds: float) -> int:
    """Start a daemon (double fork, new session) that outlives this process; return its pid."""
    return _daemon(lambda: time.sleep(min(seconds, FOREVER_S)))


def spawn_tree(depth: int = 1, width: int = 1, hang: bool = True) -> list[int]:
    """Start processes of all kinds that are hard to kill, print their pids; hang, or return them.

    At each level: a subprocess, a daemon, a child that ignores SIGTERM; on top of them a thread.
    """
    if not 0 <= depth <= 3 or not 0 <= width <= 4:
        raise ValueError("a tree has at most 3 levels and 4 of each kind a level")
    pids = _grow(depth, width)
    threading.Thread(target=time.sleep, args=(FOREVER_S,), daemon=True).start()
    print(*pids, flush=True)
    if hang:
        time.sleep(FOREVER_S)
    return pids


def _grow(depth: int, width: int) -> list[int]:
    pids: list[int] = []
    for _ in range(width):
        pids.append(subprocess.Popen(["sleep", str(FOREVER_S)]).pid)
        pids.append(_daemon(lambda: time.sleep(FOREVER_S)))
        if depth > 0:
            pids += _grow_below(depth, width)
    return pids


def _grow_below(depth: int, width: int) -> list[int]:
    read_fd, write_fd = os.pipe()

    def stubborn() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(write_fd, b"%s\n" % " ".join(map(str, _grow(depth - 1, width))).encode())
        time.sleep(FOREVER_S)

    pid = _fork(stubborn)
    return [pid, *_read_pids(read_fd, write_fd)]


def fork_bomb(limit: int = 64) -> None:
    """Fork children that fork, until there are `limit` of them or the system refuses; hang."""
    turns = min(limit, MAX_BOMB)
    tokens, put = os.pipe()
    os.write(put, bytes(turns))

    def explode() -> None:
        os.set_blocking(tokens, False)
        try:
            while os.read(tokens, 1):
                _fork(explode)
        except (BlockingIOError, OSError):  # all tokens are spent, or no process is left
            pass
        time.sleep(60)

    explode()


def _daemon(body: Callable[[], None]) -> int:
    read_fd, write_fd = os.pipe()

    def leader() -> None:
        os.setsid()
        pid = _fork(body)
        os.write(write_fd, b"%d\n" % pid)

    os.waitpid(_fork(leader), 0)
    (pid,) = _read_pids(read_fd, write_fd)
    return pid


def _read_pids(read_fd: int, write_fd: int) -> list[int]:
    with open(read_fd, encoding="ascii") as file:
        line = file.readline()  # not to the end: whoever was forked holds the other end
    os.close(write_fd)
    return [int(word) for word in line.split()]


def _fork(body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid


# Output


def flood_stdout(megabytes: int) -> None:
    """Print that much, 1 GiB at most."""
    line = "x" * 1023 + "\n"
    for _ in range(min(megabytes, 1024) * 1024):
        sys.stdout.write(line)


def print_everywhere(text: str) -> None:
    """Print from Python, on both streams, from C and from a subprocess."""
    print(f"{text} from python")
    print(f"{text} from python's stderr", file=sys.stderr)
    _libc.printf(b"%s from C\n", text.encode())
    subprocess.run(["echo", f"{text} from a subprocess"], check=True)


def close_stdout() -> None:
    """Close descriptor 1."""
    os.close(1)


def change_surroundings() -> None:
    """Change directory, umask, signal mask and sys.stdout, and leave them so."""
    os.chdir("/")
    os.umask(0o777)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    sys.stdout = io.StringIO()


# The link to the supervisor


def close_all_fds() -> None:
    """Close every descriptor, the link to the supervisor too, and go on as if nothing happened."""
    os.closerange(0, 4096)


def garbage_frame() -> None:
    """Write something that is not a frame to the link."""
    for fd in _link_fds():
        os.write(fd, b"GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n")


def torn_frame(at_byte: int) -> None:
    """Write the first bytes of an answer to the link, then die of SIGKILL."""
    frame = wire.pack(wire.Returned("a-task", 1, b'"' + b"x" * 1000 + b'"'))
    for fd in _link_fds():
        os.write(fd, frame[:at_byte])
    os.kill(os.getpid(), signal.SIGKILL)


def _link_fds() -> list[int]:
    """Return the sockets among the open descriptors; an executor has only its link."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
        except OSError:  # the descriptor of the listing itself
            continue
        with socket.socket(fileno=os.dup(fd)) as copy:
            if copy.family == socket.AF_UNIX and copy.type == socket.SOCK_STREAM:
                found.append(fd)
    return found


# Results


def unserialisable() -> object:
    """Return something that JSON cannot express."""
    return object()


def huge_result(megabytes: int) -> str:
    """Return a long string, 1 GiB at most."""
    return "x" * (min(megabytes, 1024) * _MEBIBYTE)


def nan_result() -> list[float]:
    """Return numbers that JSON does not have."""
    return [float("nan"), float("inf")]


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class _Deadly(Exception):
    def __str__(self) -> str:
        sys.exit(4)


def raise_bad_str(deadly: bool = False) -> NoReturn:
    """Raise an exception whose message cannot be read; a deadly one exits when asked for it."""
    raise _Deadly if deadly else _Mute


def recursion(depth: int = 0) -> int:
    """Call itself without end."""
    return recursion(depth + 1)


async def async_echo(value: Any) -> Any:
    """Return the value from a coroutine."""
    await asyncio.sleep(0)
    return value


async def async_sleep(seconds: float) -> float:
    """Sleep in a coroutine."""
    await asyncio.sleep(min(seconds, FOREVER_S))
    return seconds
