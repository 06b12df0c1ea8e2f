"""The HTTP API: what a request says becomes a call of billing, what comes back becomes JSON.

Knows statuses, headers and bodies. It decides nothing about money and writes no table.
"""

from bursar.entrypoints.api.app import create_app

__all__ = ["create_app"]
