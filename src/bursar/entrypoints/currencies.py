"""In which currency and whose habits a visitor is shown prices: by country, and by language.

The country is what a trusted proxy says in the header that BURSAR_COUNTRY_HEADER names; anybody
else's word is not believed. It chooses among prices that there are, and makes none.
"""

from __future__ import annotations

import re
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.numbers import get_territory_currencies
from starlette.requests import Request

from bursar.config import Settings
from bursar.entrypoints.addresses import comes_from_proxy, networks

DEFAULT_LOCALE = "en_US"
LANGUAGES_MAX = 10

_COUNTRY = re.compile("[A-Za-z]{2}", re.ASCII)
_LANGUAGE = re.compile(
    r"\s*([A-Za-z]{2,3})(?:-([A-Za-z]{4}))?(?:-([A-Za-z]{2}))?"
    r"\s*(?:;\s*q=([01](?:\.[0-9]{1,3})?))?\s*",
    re.ASCII,
)


def usual_currency(request: Request, settings: Settings) -> str | None:
    """The currency of the visitor's country; None where that is not known."""
    if not settings.country_header:
        return None
    if not comes_from_proxy(request.scope, networks(settings.trusted_proxies)):
        return None
    country = request.headers.get(settings.country_header, "").strip()
    return currency_of(country.upper()) if _COUNTRY.fullmatch(country) else None


@lru_cache(maxsize=512)
def currency_of(country: str) -> str | None:
    """What is paid with in a country now, by its two letters: `DE` has eur."""
    found = get_territory_currencies(country)
    return str(found[0]).lower() if found else None


def locale_of(request: Request) -> str:
    """The locale that a visitor likes best and that there is, such as `de_DE`."""
    wanted: list[tuple[float, int, str]] = []
    parts = request.headers.get("accept-language", "").split(",")[:LANGUAGES_MAX]
    for place, part in enumerate(parts):
        match = _LANGUAGE.fullmatch(part)
        quality = float(match[4] or 1) if match else 0.0
        if match and quality > 0:
            names = [match[1].lower(), (match[2] or "").title(), (match[3] or "").upper()]
            wanted.append((-quality, place, "_".join(filter(None, names))))
    known = (_known(name) for _, _, name in sorted(wanted))
    return next((name for name in known if name), DEFAULT_LOCALE)


@lru_cache(maxsize=512)
def _known(name: str) -> str | None:
    try:
        return str(Locale.parse(name))
    except (UnknownLocaleError, ValueError):
        return None
