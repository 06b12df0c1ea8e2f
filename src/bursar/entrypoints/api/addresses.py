"""Addresses with a provider in them: `{provider:provider}` takes known words alone.

Any other first segment is another route, so an unknown word is 404, not a wrong value.
"""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor

from bursar.providers.port import PROVIDER_NAMES


class ProviderConvertor(Convertor[str]):
    """One of the providers that Bursar knows, set up or not."""

    regex = "|".join(PROVIDER_NAMES)

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


def register() -> None:
    """Make `{provider:provider}` known to the router; before any route is made."""
    register_url_convertor("provider", ProviderConvertor())


register()
