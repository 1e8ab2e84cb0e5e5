"""Who is at the other end of a connection, and whose share of the room it takes."""

import socket
import struct
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Final, NamedTuple

#: `struct ucred`: pid, uid, gid.
_CREDENTIALS: Final = struct.Struct("3i")
#: One subscriber has that much of IPv6 to himself.
_SUBSCRIBER_BITS: Final = 64


class Peer(NamedTuple):
    """The other end."""

    #: For ASGI and for the log: an address and a port, or `uid 1000` and a process id.
    client: tuple[str, int]
    #: Connections of equal shares count together.
    share: str


def peer_of(sock: socket.socket, address: Any) -> Peer:
    """Return the other end of an accepted connection."""
    if sock.family == socket.AF_UNIX:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(found)
        return Peer((f"uid {uid}", pid), f"uid {uid}")
    host, port = address[:2]
    return Peer((host, port), share_of(host))


def share_of(host: str) -> str:
    """Return under which name what comes from there counts: a subscriber's addresses are one."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), _SUBSCRIBER_BITS), strict=False))
