"""Ports for programs that are to be told one: where it can be chosen, port 0 is better."""

import random
import socket
from contextlib import ExitStack, suppress
from typing import Final

#: Below where Linux begins with the ports of clients.
_NO_CLIENT_HAS: Final = (10_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and that the kernel gives to no client's connection."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            holder = stack.enter_context(socket.socket())
            with suppress(OSError):
                holder.bind(("127.0.0.1", random.randint(*_NO_CLIENT_HAS)))
                found.append(holder.getsockname()[1])
    return found
