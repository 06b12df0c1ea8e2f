"""Refusals: known who, and not allowed, or not paid for."""

from __future__ import annotations

from bursar.errors.families import Denied, InsufficientCredits


class NotEntitled(Denied):
    """Nothing that this customer has bought or was given has this feature."""

    code = "not_entitled"


class CreditsOwed(InsufficientCredits):
    """Credits are owed for a refund of spent ones, and nothing is used until that is paid."""

    code = "credits_owed"
