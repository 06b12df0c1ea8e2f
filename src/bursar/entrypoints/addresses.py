"""The address that a request comes from: the peer's, or what a trusted proxy says of the client.

`X-Forwarded-For` can be sent by anybody. It is read from the right, hop by hop, for as long as a
hop that we trust wrote it; the first that we don't trust is the client.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from starlette.types import Scope

from bursar import errors

HEADER = b"x-forwarded-for"
HOPS_MAX = 32

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


@lru_cache(maxsize=16)
def networks(names: tuple[str, ...]) -> Networks:
    """BURSAR_TRUSTED_PROXIES as networks. Raises errors.Misconfigured."""
    try:
        return tuple(ip_network(name) for name in names)
    except ValueError as error:
        raise errors.Misconfigured(f"BURSAR_TRUSTED_PROXIES: {error}.") from error


def client_address(scope: Scope, trusted: Networks) -> str:
    """The client's address as text; empty when the server was not told of one."""
    peer = scope.get("client")
    address = _parse(peer[0]) if peer else None
    if address is None:
        return ""
    if _trusts(trusted, address):
        for hop in reversed(_hops(scope)):
            said = _parse(hop)
            if said is None:
                break
            address = said
            if not _trusts(trusted, said):
                break
    return str(address)


def is_trusted_peer(scope: Scope, trusted: Networks) -> bool:
    """Whether the connection itself comes from a proxy that we trust."""
    peer = scope.get("client")
    address = _parse(peer[0]) if peer and trusted else None
    return address is not None and _trusts(trusted, address)


def subject(scope: Scope, trusted: Networks) -> str:
    """Whom a limit by address counts: an address, or the network that one IPv6 client has."""
    text = client_address(scope, trusted)
    address = _parse(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return text


def comes_from_proxy(scope: Scope, trusted: Networks) -> bool:
    """Whether the peer is a proxy that we trust, so that its headers are its word."""
    peer = scope.get("client")
    address = _parse(peer[0]) if peer else None
    return address is not None and _trusts(trusted, address)


def _trusts(trusted: Networks, address: Address) -> bool:
    return any(address in network for network in trusted)


def _hops(scope: Scope) -> list[str]:
    """The header's hops, the nearest last; of several headers the later one was added later."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == HEADER]
    return ",".join(lines).rsplit(",", HOPS_MAX)[-HOPS_MAX:] if lines else []


def _parse(text: str) -> Address | None:
    """An address as proxies write it, with a port or without; None for anything else."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
