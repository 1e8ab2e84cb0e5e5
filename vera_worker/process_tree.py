"""Find and kill whole process trees, double-forked daemons and fork bombs included.

`killpg` reaches polite code only: a child that calls setsid() leaves the group. What nobody
leaves is its ancestry, as long as every orphan falls to a *subreaper* below us. So: stop every
descendant, look again until nobody new turns up, then kill them all. A stopped process cannot
fork, so the sweep ends.
"""

import ctypes
import os
import signal
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
#: The kernel may skip entries of `children` while a sibling exits: one empty look proves nothing.
_QUIET_LOOKS: Final = 2
_libc: Final = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even while C code holds the GIL."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
    _send(signal.SIGSTOP, [pid])
    kill_descendants(pid)
    _send(signal.SIGKILL, [pid])


def kill_descendants(pid: int, *, spare: Collection[int] = ()) -> int:
    """Kill all descendants of `pid` but not itself, nor the children in `spare` with their trees.

    Returns how many processes were killed.
    """
    stopped: dict[int, None] = {}
    quiet_looks = 0
    while quiet_looks < _QUIET_LOOKS:
        before = len(stopped)
        # From below upwards, for that is how orphans move: what is no child any more of a process
        # that was just looked at is found among the children of one that is still to come.
        for parent in [*reversed(stopped), pid]:
            _stop_below(parent, stopped, spare if parent == pid else ())
        quiet_looks = quiet_looks + 1 if len(stopped) == before else 0
    _send(signal.SIGKILL, stopped)
    return len(stopped)


def signal_descendants(pid: int, number: signal.Signals) -> None:
    """Send a signal to all present descendants of `pid`, not to itself."""
    _send(number, descendants(pid))


def _stop_below(pid: int, stopped: dict[int, None], spare: Collection[int]) -> None:
    """Stop all descendants of `pid` that are not among the stopped, and add them in this order."""
    new = [child for child in children(pid) if child not in stopped and child not in spare]
    for process in new:  # grows while it is walked
        if process not in stopped:
            _send(signal.SIGSTOP, [process])
            stopped[process] = None
            new += children(process)


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        # Gone already; or a set-uid program, which must not save all others from the signal.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
