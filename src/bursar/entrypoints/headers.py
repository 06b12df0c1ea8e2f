"""The headers that tell a browser what an answer of ours may do. Pure.

Owns the content security policy, and what is said with every answer, be it a page, a problem, a
redirect or a file. Knows no route and no provider: whose origins a page may use comes in.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from bursar.config import origin_of

Origins = Mapping[str, Iterable[str]]
"""Origins by directive, as `Capabilities.card_form_origins` says them."""
Header = tuple[bytes, bytes]

HSTS: Header = (b"strict-transport-security", b"max-age=31536000")
"""A year, and this host alone: its subdomains may be others'."""

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_POWERS = ("camera", "display-capture", "geolocation", "microphone", "usb")

ALWAYS: tuple[Header, ...] = (
    (b"content-security-policy", _NOTHING.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", ", ".join(f"{power}=()" for power in (*_POWERS, "payment")).encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""What every answer says unless it says something else of the same name. A cache keeps only what
says that it may: most of our answers are somebody's own."""


def new_nonce() -> str:
    """A word that nobody can guess, for one answer: its scripts carry it."""
    return secrets.token_urlsafe(18)


def of_page(
    nonce: str, *, ways_out: Iterable[str] = (), card_form: Origins | None = None
) -> dict[str, str]:
    """The headers of a page whose scripts carry `nonce`.

    `ways_out` are the URLs at whose origins its forms may end; `card_form` the origins that a page
    with the provider's card form needs. Raises ValueError for a way out that is no http(s) address.
    """
    named = {
        "content-security-policy": policy(nonce, ways_out=ways_out, card_form=card_form),
        "referrer-policy": "same-origin",
    }
    if card_form:
        named["permissions-policy"] = _permissions(card_form)
        # A wallet's window speaks with the page that opened it, or the payment can't go on.
        named["cross-origin-opener-policy"] = "same-origin-allow-popups"
    return named


def policy(nonce: str, *, ways_out: Iterable[str] = (), card_form: Origins | None = None) -> str:
    """The content security policy of a page.

    A form's redirect leads to the provider, and browsers hold it to `form-action` as well. Raises
    ValueError for a way out that is no http(s) address.
    """
    form = card_form or {}
    targets = " ".join(dict.fromkeys(["'self'", *map(origin_of, ways_out)]))
    scripts, frames, calls = (
        " ".join(["'self'", *form.get(directive, ())])
        for directive in ("script-src", "frame-src", "connect-src")
    )
    framed = f"frame-src {frames}; " if form else ""
    return (
        f"default-src 'none'; style-src 'self'; script-src {scripts} 'nonce-{nonce}'; "
        f"img-src 'self' data:; {framed}connect-src {calls}; form-action {targets}; "
        "base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    )


def _permissions(card_form: Origins) -> str:
    """Wallets ask for `payment` in the provider's frames. Not all browsers know a `*` here."""
    frames = [f'"{origin}"' for origin in card_form.get("frame-src", ()) if "*" not in origin]
    closed = [f"{power}=()" for power in _POWERS]
    return ", ".join([*closed, f"payment=({' '.join(['self', *frames])})"])


def complete(headers: list[Header], *, hsts: bool) -> None:
    """Add what an answer has not said itself.

    `hsts`: the browser is to come by HTTPS from now on; only an answer over HTTPS may say so
    (RFC 6797, 7.2).
    """
    said = {name.lower() for name, _ in headers}
    headers += [header for header in ALWAYS if header[0] not in said]
    if hsts:
        headers.append(HSTS)
