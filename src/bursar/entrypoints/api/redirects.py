"""Where a buyer may be sent afterwards: allowed origins alone, by an address read strictly."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bursar import errors
from bursar.config import Settings, origin_of

PLACEHOLDER = "{CHECKOUT_SESSION_ID}"
SUCCESS_PATH = f"/checkout/success?session_id={PLACEHOLDER}"
CANCEL_PATH = "/pricing"
ACCOUNT_PATH = "/account"

# Browsers read backslashes as slashes and drop tabs and line breaks, so none may be there.
PLAIN = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,2048}")


def check(settings: Settings, field: str, url: str) -> str:
    """Return `url` if a browser may be sent there. Raises errors.RedirectNotAllowed."""
    if not _allowed(settings, url):
        message = "The address is not on an allowed origin (BURSAR_ALLOWED_ORIGINS)"
        entry = {"field": field, "code": "redirect_not_allowed", "message": message}
        raise errors.RedirectNotAllowed(f"{field}: {message}.", errors=[entry])
    return url


def _allowed(settings: Settings, url: str) -> bool:
    if not PLAIN.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        origin = origin_of(url)
    except ValueError:
        return False
    return "@" not in parts.netloc and origin in settings.origins


def success_url(settings: Settings, asked: str | None) -> str:
    """The address after a payment. Raises errors.RedirectNotAllowed."""
    if asked is None:
        return settings.shop_url + SUCCESS_PATH
    return check(settings, "success_url", asked)


def cancel_url(settings: Settings, asked: str | None) -> str:
    """The address after leaving the checkout. Raises errors.RedirectNotAllowed."""
    if asked is None:
        return settings.shop_url + CANCEL_PATH
    return check(settings, "cancel_url", asked)


def return_url(settings: Settings, asked: str | None) -> str:
    """The address after a visit of the portal. Raises errors.RedirectNotAllowed."""
    if asked is None:
        return settings.shop_url + ACCOUNT_PATH
    return check(settings, "return_url", asked)


def pricing_url(settings: Settings) -> str:
    """Where buying begins."""
    return settings.shop_url + CANCEL_PATH
