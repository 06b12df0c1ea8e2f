"""How pages and letters write what somebody is entitled to: features, and how much. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bursar.billing.rights import Right


def feature_name(feature: str) -> str:
    """`api_calls` as people read it."""
    return feature.replace("_", " ")


def said(rights: Sequence[Right]) -> str:
    """Such as `email support, history, 10,000 api calls a month`; what has no number first."""
    plain = [feature_name(right.feature) for right in rights if right.amount is None]
    limits = [
        f"{right.amount:,} {feature_name(right.feature)}" + (f" a {right.per}" if right.per else "")
        for right in rights
        if right.amount is not None
    ]
    return ", ".join([*plain, *limits])
