"""The memory that the kernel lets this process have while a task with a limit runs in it."""

import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

_PAGE_BYTES: Final = resource.getpagesize()
#: The supervisor enforces the limit itself, for the whole process tree and by what is in use. This
#: bound catches what grows faster than anybody can look. It is wider: more is mapped than in use.
_HEADROOM: Final = 2
_NO_BOUND: Final = nullcontext()


def memory_bound(limit_bytes: int | None) -> AbstractContextManager[None]:
    """Refuse this process, and each that it starts, memory far above the limit, if there is one."""
    return _NO_BOUND if limit_bytes is None else _bound(limit_bytes)


@contextmanager
def _bound(limit_bytes: int) -> Iterator[None]:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _mapped_bytes() + _HEADROOM * limit_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _mapped_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * _PAGE_BYTES
