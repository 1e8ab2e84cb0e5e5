"""What a sandboxed attempt is confined to. There is no way back: its process runs nothing else.

A sandbox is no wall against a user that is determined to break the kernel. It keeps code that
misbehaves from gaining rights, from filling the disk, from leaving files and from the network.
"""

import ctypes
import os
import resource
import tempfile
from pathlib import Path
from typing import Final

from vera_worker.errors import SandboxUnavailable
from vera_worker.process_tree import give_up_new_privileges
from vera_worker.tasks import Sandbox

#: What each process of an attempt may have: size of one file in bytes, open files, size of a core.
LIMITS: Final = {
    resource.RLIMIT_FSIZE: 1024**3,
    resource.RLIMIT_NOFILE: 512,
    resource.RLIMIT_CORE: 0,
}
#: Variables by which programs find where they may write.
_DIRECTORY_VARIABLES: Final = ("HOME", "TMPDIR", "TEMP", "TMP")
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


def enter(sandbox: Sandbox, parent: str | None) -> None:
    """Confine this process for good; raise SandboxUnavailable where that is not possible.

    Its own directory is made in `parent`, named by its process id; the supervisor removes it.
    """
    if not sandbox.network:
        _leave_the_network()
    _move_into_own_directory(parent)
    for kind, most in LIMITS.items():
        _, hard = resource.getrlimit(kind)
        limit = most if hard < 0 else min(most, hard)
        resource.setrlimit(kind, (limit, limit))
    give_up_new_privileges()


def _leave_the_network() -> None:
    """Move to a network of our own, which has nothing in it; needs root, or user namespaces."""
    for kinds in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET):
        if _libc.unshare(kinds) == 0:
            return
    raise SandboxUnavailable(
        f"network = false, and this worker may not make a network namespace: "
        f"{os.strerror(ctypes.get_errno())}; run it as root, allow unprivileged user namespaces, "
        f"or let the function use the network"
    )


def _move_into_own_directory(parent: str | None) -> None:
    if parent is None:
        raise SandboxUnavailable(
            "there is no directory for temporary files: give the worker a writable TMPDIR"
        )
    directory = Path(parent, str(os.getpid()))
    try:
        directory.mkdir(mode=0o700)
    except OSError as error:
        raise SandboxUnavailable(f"its directory cannot be made: {error}") from error
    os.chdir(directory)
    for name in _DIRECTORY_VARIABLES:
        os.environ[name] = str(directory)
    tempfile.tempdir = None  # it is found anew
