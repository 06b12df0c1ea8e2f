"""Whose address a request comes from: a proxy is believed when it is trusted, a client never."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Scope

from api_server import make_settings
from bursar import errors
from bursar.entrypoints import addresses, server
from bursar.wiring import opened

PROXY, OTHER, CLIENT = "10.0.0.7", "203.0.113.9", "198.51.100.4"
TRUSTED = addresses.networks(("10.0.0.0/24", "2001:db8::1"))


def scope(peer: str | None, *forwarded: str) -> Scope:
    return {
        "type": "http",
        "client": (peer, 4711) if peer is not None else None,
        "headers": [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded],
    }


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (CLIENT, [], CLIENT),
        (CLIENT, ["1.2.3.4"], CLIENT),
        (PROXY, [], PROXY),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"1.2.3.4, {CLIENT}"], CLIENT),
        (PROXY, ["1.2.3.4", CLIENT], CLIENT),
        (PROXY, [f"1.2.3.4, {CLIENT}, 10.0.0.8"], CLIENT),
        (PROXY, ["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (PROXY, [f"{CLIENT}:55012"], CLIENT),
        (PROXY, ["[2001:db8:1::5]:443"], "2001:db8:1::5"),
        (PROXY, ["2001:db8:1::5"], "2001:db8:1::5"),
        (PROXY, [f"::ffff:{CLIENT}"], CLIENT),
        (f"::ffff:{PROXY}", [CLIENT], CLIENT),
        ("2001:db8::1", [CLIENT], CLIENT),
        ("2001:db8::2", [CLIENT], "2001:db8::2"),
        (PROXY, ["nonsense"], PROXY),
        (PROXY, ["1.2.3.4, unknown"], PROXY),
        (PROXY, ["1.2.3.4, nonsense, 10.0.0.8"], "10.0.0.8"),
        (PROXY, [""], PROXY),
        (PROXY, [",,,"], PROXY),
        (PROXY, ["1.2.3.4," * 5000 + CLIENT], CLIENT),
        (PROXY, ["\xff\x00"], PROXY),
        (None, [CLIENT], ""),
        ("unix:", [CLIENT], ""),
    ],
)
def test_the_rightmost_hop_that_is_not_trusted_is_the_client(
    peer: str | None, forwarded: list[str], expected: str
) -> None:
    assert addresses.client_address(scope(peer, *forwarded), TRUSTED) == expected


def test_nobody_is_trusted_unless_named() -> None:
    assert addresses.client_address(scope("127.0.0.1", CLIENT), ()) == "127.0.0.1"


def test_a_limit_counts_the_network_that_one_client_has() -> None:
    assert addresses.subject(scope("2001:db8:1::5"), ()) == "2001:db8:1::/64"
    assert addresses.subject(scope("2001:db8:1::6"), ()) == "2001:db8:1::/64"
    assert addresses.subject(scope(CLIENT), ()) == CLIENT


@pytest.mark.parametrize("name", ["proxy.example", "10.0.0.7/8", "10.0.0.300", "*"])
def test_what_is_no_network_is_refused_by_the_settings_name(name: str) -> None:
    with pytest.raises(errors.Misconfigured, match="BURSAR_TRUSTED_PROXIES"):
        addresses.networks((name,))


@asynccontextmanager
async def called_from(
    peer: str, database_url: str, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole app whose connection comes from `peer`."""
    async with opened(make_settings(database_url, **settings)) as wiring:
        transport = httpx.ASGITransport(server.create(wiring), client=(peer, 4711))
        async with httpx.AsyncClient(
            transport=transport, base_url="https://shop.example"
        ) as client:
            yield client


async def guess(client: httpx.AsyncClient, forwarded: str) -> int:
    headers = {"X-Forwarded-For": forwarded}
    return (await client.get("/sign-in?token=guess", headers=headers)).status_code


async def test_another_forwarded_address_at_each_try_changes_nothing(database_url: str) -> None:
    async with called_from(CLIENT, database_url, limit_sign_in="3/1h", trusted_proxies=PROXY) as c:
        statuses = [await guess(c, f"192.0.2.{number}") for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


async def test_clients_behind_a_trusted_proxy_are_counted_apart(database_url: str) -> None:
    async with called_from(PROXY, database_url, limit_sign_in="2/1h", trusted_proxies=PROXY) as c:
        # What a client writes into the header itself stands to the left of what the proxy adds.
        one = [await guess(c, f"192.0.2.{number}, {CLIENT}") for number in range(3)]
        other = await guess(c, OTHER)
    assert (one, other) == ([401, 401, 429], 401)


async def test_the_log_names_the_client_and_never_what_it_claims(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with called_from(PROXY, database_url, trusted_proxies=PROXY) as client:
        await client.get("/healthz", headers={"X-Forwarded-For": f"192.0.2.66, {CLIENT}"})
    logged = "".join(capsys.readouterr())
    assert CLIENT in logged
    assert "192.0.2.66" not in logged


async def test_proxies_that_are_no_networks_stop_the_start(database_url: str) -> None:
    with pytest.raises(errors.Misconfigured, match="BURSAR_TRUSTED_PROXIES"):
        async with called_from(PROXY, database_url, trusted_proxies="everybody"):
            raise AssertionError("it must not start")
