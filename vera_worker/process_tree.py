"""Find and kill whole process trees, double-forked daemons and fork bombs included.

`killpg` reaches polite code only: a child that calls setsid() leaves the group. What nobody
leaves is its ancestry, as long as every orphan falls to a *subreaper* below us. So: stop every
descendant, look again until nobody new turns up, then kill them all. A stopped process cannot
fork, so the sweep ends.
"""

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final

#: How readily the kernel kills the supervisor when memory runs out, from -1000 to 1000.
OOM_SCORE: Final = -500

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
#: In the first quiet look a process may still have been at work; in the second one it was not.
_QUIET_LOOKS: Final = 2
#: Threads that are stopped, traced, zombies or dead.
_CANNOT_FORK: Final = frozenset({b"T", b"t", b"Z", b"X"})
#: A process stops within milliseconds, or when its uninterruptible sleep ends: that may be never.
_STOP_S: Final = 0.05
_PAUSE_S: Final = 0.0005
_libc: Final = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even while C code holds the GIL."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def give_up_new_privileges() -> None:
    """Let no program that this process starts have more rights than it has, set-uid or not."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def keep_private() -> None:
    """Let no other process of this user read this one's memory, environment or descriptors."""
    _prctl(_PR_SET_DUMPABLE, 0)


def outlive_others() -> None:
    """Have the kernel kill nearly all others first when memory runs out; only root may ask."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(OOM_SCORE))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def children(pid: int) -> list[int]:
    """Return the direct children of `pid`; none when it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            found += map(int, file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Return the children of `pid`, theirs, and so on; parents before children."""
    found = children(pid)
    for child in found:  # grows while it is walked
        found += children(child)
    return found


def kill_tree(pid: int) -> None:
    """Kill `pid` and all its descendants with SIGKILL."""
    _signal(pid, signal.SIGSTOP)
    _await_stop(pid)
    kill_descendants(pid)
    _signal(pid, signal.SIGKILL)


def kill_descendants(pid: int, *, spare: Collection[int] = ()) -> int:
    """Kill all descendants of `pid` but not itself, nor the children in `spare` with their trees.

    Returns how many processes were killed.
    """
    known: dict[int, None] = {}
    # A fork that was under way when SIGSTOP came still completes; the round of SIGKILL finds it.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        quiet_looks = 0
        while quiet_looks < _QUIET_LOOKS:
            quiet_looks += 1
            # From the bottom up, because that is how orphans move: one that has just left the
            # children of a process turns up among those of a process that is still to come.
            for parent in [*reversed(known), pid]:
                if not _reach_below(parent, number, known, spare if parent == pid else ()):
                    quiet_looks = 0
    return len(known)


def signal_descendants(pid: int, number: signal.Signals) -> None:
    """Send a signal to all present descendants of `pid`, not to itself."""
    _send(number, descendants(pid))


def wake_with(pid: int, number: int) -> None:
    """Have a running process handle a signal, a stopped one before it does anything else.

    A stopped process gets it in its first thread, which is the one that matters. Any other could
    take it only after that one has gone on.
    """
    if _is_stopped(pid):
        _libc.tgkill(pid, pid, number)
        os.kill(pid, signal.SIGCONT)
    else:
        os.kill(pid, number)


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].startswith(b"T")
    except OSError:
        return False


def _reach_below(
    pid: int, number: signal.Signals, known: dict[int, None], spare: Collection[int]
) -> bool:
    """Send a signal to all descendants of `pid`; return whether all of them were known.

    One that vanishes while the kernel lists it with its siblings hides another one, so then there
    may be more than was seen.
    """
    all_known = True
    found = children(pid)
    for process in found:  # grows while it is walked
        if process in spare:
            all_known &= _signal(process, 0)
        elif not _signal(process, number):
            all_known = False
            known.pop(process, None)
        elif process not in known:
            all_known = False
            known[process] = None
            found += children(process)
    return all_known


def _await_stop(pid: int) -> None:
    """Wait until all threads of a process that was sent SIGSTOP are stopped, or for a moment."""
    give_up_at = time.monotonic() + _STOP_S
    while time.monotonic() < give_up_at and not _threads(pid) <= _CANNOT_FORK:
        time.sleep(_PAUSE_S)


def _threads(pid: int) -> set[bytes]:
    """Return the states that threads of a process are in, as /proc has them."""
    states: set[bytes] = set()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                states.add(file.read().rpartition(b") ")[2][:1])
    return states


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        _signal(pid, number)


def _signal(pid: int, number: int) -> bool:
    """Send a signal and return whether there is such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # a set-uid program; it must not save all others from the signal
        return True
    return True
