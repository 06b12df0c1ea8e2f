"""The routes of disputes: shown, listed, answered with evidence, given up.

`disputes` owns the object and what becomes of it.
"""

from __future__ import annotations

from typing import Any

from bursar_sandbox.stripe import balance, dispute_parts, disputes, lists, metadata, records
from bursar_sandbox.stripe.call import Call, route
from bursar_sandbox.stripe.errors import StripeError, not_played
from bursar_sandbox.stripe.params import Params

LONGEST_FIELD = 20_000
LONGEST_EVIDENCE = 150_000
_METHODS = ("manual", "prefer_manual", "prefer_smart_disputes", "smart_disputes")
_NOT_PLAYED = ("appeal", "enhanced_evidence")


def _find(call: Call) -> dict[str, Any]:
    return records.get(call.tx, "dispute", call.ids[0], param="dispute", in_path=True)


def _shown(call: Call, dispute: dict[str, Any]) -> dict[str, Any]:
    for entry in dispute["balance_transactions"]:
        balance.ripen(entry, call.tx.now)
    return dispute


def retrieve(call: Call) -> dict[str, Any]:
    return _shown(call, _find(call))


def index(call: Call) -> dict[str, Any]:
    query = lists.Query("dispute")
    query.equal(call.params, "charge", "payment_intent")
    found = lists.page(call, query)
    found["data"] = [_shown(call, dispute) for dispute in found["data"]]
    return found


def update(call: Call) -> dict[str, Any]:
    params = call.params
    before = _find(call)
    disputes.check_open(before)
    dispute = {
        **before,
        "evidence_details": dict(before["evidence_details"]),
        "metadata": metadata.merged(params, before["metadata"]),
    }
    method = params.choice("intended_submission_method", _METHODS)
    if method is not None:
        dispute["intended_submission_method"] = method
    evidence = params.table("evidence")
    if evidence is not None:
        _take(call, dispute, evidence)
    # Evidence goes to the bank at once unless the seller keeps it as a draft.
    wanted = params.boolean("submit", default=evidence is not None)
    if wanted and dispute["evidence_details"]["has_evidence"]:
        _check_answerable(dispute)
        disputes.submit(call.tx, dispute)
    disputes.save(call.tx, before, dispute)
    return _shown(call, dispute)


def _take(call: Call, dispute: dict[str, Any], given: Params) -> None:
    """Merge the evidence given into what the dispute has. An empty value removes it."""
    given.allow((*dispute_parts.EVIDENCE_TEXTS, *dispute_parts.EVIDENCE_FILES, *_NOT_PLAYED))
    for name in _NOT_PLAYED:
        if given.given(name):
            raise not_played(f"`{name}` as evidence", given.name(name))
    _check_answerable(dispute)
    evidence = dict(dispute["evidence"])
    for name in dispute_parts.EVIDENCE_TEXTS:
        if name in given:
            evidence[name] = given.text(name, limit=LONGEST_FIELD)
    for name in dispute_parts.EVIDENCE_FILES:
        if name in given:
            evidence[name] = _file(call, given, name)
    size = sum(len(text) for text in evidence.values() if isinstance(text, str))
    if size > LONGEST_EVIDENCE:
        raise StripeError(
            f"The evidence has {size} characters together; at most {LONGEST_EVIDENCE} are allowed.",
            param="evidence",
        )
    dispute["evidence"] = evidence
    dispute["evidence_details"]["has_evidence"] = size > 0


def _file(call: Call, given: Params, name: str) -> str | None:
    file_id = given.text(name)
    if file_id is not None:
        records.get(call.tx, "file", file_id, param=given.name(name), word="file upload")
    return file_id


def _check_answerable(dispute: dict[str, Any]) -> None:
    if dispute["status"] not in ("needs_response", "warning_needs_response"):
        raise StripeError(
            "The evidence of this dispute can no longer be changed: it has been submitted already "
            f"and the dispute has a status of {dispute['status']}."
        )


def close(call: Call) -> dict[str, Any]:
    dispute = _find(call)
    disputes.close(call.tx, dispute)
    return _shown(call, dispute)


routes = [
    route("GET", "/v1/disputes", index, f"{lists.PAGING} charge payment_intent"),
    route("GET", "/v1/disputes/*", retrieve),
    route(
        "POST",
        "/v1/disputes/*",
        update,
        "evidence intended_submission_method metadata submit",
    ),
    route("POST", "/v1/disputes/*/close", close),
]
