"""Where a webhook may go: http or https, and not into the machine or the network that the product itself stands in.

Looked at twice: as it is written in `evolve.toml`, and as it resolves when a connection is made.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_NAT64 = ip_network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


def is_public(address: Address) -> bool:
    """Whether it is a place on the Internet. An IPv6 address that hides an IPv4 one is none, except in NAT64, where
    that one counts."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour is not None or address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def literal(host: str) -> Address | None:
    """The address that a host is, if it is one and no name. As lenient as what resolves it: `127.1` is one."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
