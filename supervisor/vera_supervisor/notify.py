"""Tells the service manager how the worker stands: systemd's sd_notify protocol.

A message is one datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names. If nobody
listens, nothing happens: a worker never fails because of whom it reports to.
"""

import logging
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

log = logging.getLogger(__name__)

#: Taken out of the environment: executors and tasks must not speak in the worker's name.
_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_USEC_PER_S: Final = 1_000_000


class Notifier:
    """The way to the service manager, if there is one."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        #: Seconds after which the manager restarts a worker that is silent; None: never.
        self.watchdog_s = watchdog_s
        self._address: str | None = None
        if address is not None and address[:1] in ("/", "@"):
            # An abstract name is written with "@" and starts with a zero byte.
            self._address = "\0" + address[1:] if address[0] == "@" else address

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Return the notifier that `environ` asks for, and take its variables out of there."""
        address, usec, pid = (environ.pop(name, None) for name in _VARIABLES)
        watchdog_s = None
        if usec is not None and pid in (None, str(os.getpid())) and usec.isdecimal() and int(usec):
            watchdog_s = int(usec) / _USEC_PER_S
        return cls(address, watchdog_s if address else None)

    def ready(self, status: str) -> None:
        """Say that a task sent now would start."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """Say that the worker reads its configuration again, until it says `ready`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str, at_most_s: float) -> None:
        """Say that the worker stops, and how many seconds to wait before killing it."""
        extend = f"EXTEND_TIMEOUT_USEC={round(at_most_s * _USEC_PER_S)}"
        self._send("STOPPING=1", _status(status), extend)

    def alive(self) -> None:
        """Keep the watchdog quiet for another `watchdog_s` seconds."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a manager that does not read must not hold us up
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("the service manager was not told %s: %s", lines[0], error)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())  # a line of its own would be another message
