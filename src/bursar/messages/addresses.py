"""Which addresses of the network a webhook may be sent to: those of the public internet alone.

Whoever names a URL must not make this server speak to its own neighbours. A name is resolved here,
every address that it has is checked, and the sender connects to what was checked, so that the name
can't mean something else a moment later. It opens no connection.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A host's name and a port → the addresses that it has, as text."""

PORTS = frozenset({80, 443, 8080, 8443})
RESOLVE_SECONDS = 5.0
URL_LENGTH_MAX = 2000

# What IPv6 gives out to the public, less what carries an IPv4 address inside (Teredo, 6to4) or is
# kept for protocols and examples. NAT64, mapped and local addresses lie outside of it.
V6_PUBLIC = ipaddress.IPv6Network("2000::/3")
V6_SPECIAL = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48")
)
V4_SPECIAL = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)


class Forbidden(ValueError):
    """A webhook can't be sent there; the message says why."""


class Unresolved(Exception):
    """The name has no address just now."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is allowed: `loopback` for sandboxes, plain `http` wherever no real money moves."""

    loopback: bool = False
    http: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was looked at: `host` is what a certificate names, `netloc` what the header."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the public internet's."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in V4_SPECIAL)
    inside = address in V6_PUBLIC and address.scope_id is None
    return inside and not any(address in network for network in V6_SPECIAL)


def read(url: str, policy: Policy) -> Target:
    """Take a URL apart. Raises Forbidden for one that nothing can be sent to."""
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise Forbidden("it is no address: use ASCII, write other signs as browsers do")
    if "\\" in url:
        raise Forbidden("it has a backslash")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Forbidden("it can't be read") from error
    schemes = ("https", "http") if policy.http else ("https",)
    if parts.scheme not in schemes or not host:
        raise Forbidden(f"it does not begin with {' or '.join(f'{s}://' for s in schemes)}")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Forbidden("it has a user's name, a password or a fragment")
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    if port not in PORTS and not policy.loopback:
        raise Forbidden(f"port {port} is not among {', '.join(map(str, sorted(PORTS)))}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host.rstrip("."), port, parts.netloc, path)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses that this machine knows for a name. Raises Unresolved."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Unresolved(f"the name {host} has no address just now") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def checked(target: Target, policy: Policy, *, ask: Resolve = resolve) -> list[str]:
    """The addresses to connect to, every one checked.

    Raises Forbidden as soon as one is not allowed (a name with both kinds is a trick), and
    Unresolved.
    """
    found = await ask(target.host, target.port)
    if not found:
        raise Unresolved(f"the name {target.host} has no address just now")
    for text in found:
        address = ipaddress.ip_address(text)
        if not is_public(address) and not (policy.loopback and _is_loopback(address)):
            raise Forbidden(f"{target.host} is {address}, which is not of the public internet")
    return found


def _is_loopback(address: IPAddress) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(address.is_loopback or (mapped and mapped.is_loopback))
