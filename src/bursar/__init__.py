"""Bursar: payments become credits exactly once.

`from bursar import Bursar` is the library for a host's own process. It is imported when it is
asked for and not before, so that a room of the house costs no more than itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bursar.entrypoints.library import Bursar, Event

__all__ = ["Bursar", "Event"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module("bursar.entrypoints.library"), name)
    raise AttributeError(f"module 'bursar' has no attribute {name!r}")
