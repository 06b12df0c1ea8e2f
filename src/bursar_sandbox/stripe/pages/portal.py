"""The customer portal's first page: plans, cards, invoices, and the way back to the shop.

Owns the route /p/session/{secret} and what all the portal's pages have in common: their frame, the
end of a session, and where a person goes after a task. The tasks have modules of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bursar_sandbox.store import Transaction
from bursar_sandbox.stripe import portal_acts, portal_sessions, records
from bursar_sandbox.stripe.errors import StripeError
from bursar_sandbox.stripe.pages import forms, portal_views, rendering
from bursar_sandbox.stripe.pages.orders import shop_of
from bursar_sandbox.stripe.portal_acts import NotAllowed, Portal

SAID = {
    "added": "The card is saved and is charged from now on.",
    "canceled": "The plan is canceled for the end of what is paid.",
    "changed": "The plan is changed.",
    "default": "That card is charged from now on.",
    "ended": "The plan has ended.",
    "none": "That can’t be done here any more. This is how things stand.",
    "removed": "The card is removed.",
    "resumed": "The plan goes on. You can cancel it at any time.",
}
"""What is said after a task, by the word in the page's address."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to an open portal. `fields` are those of the address and of the form."""

    request: Request
    tx: Transaction
    portal: Portal
    fields: dict[str, str]

    @property
    def base(self) -> str:
        """The address of the portal, without a task."""
        return f"/p/session/{self.request.path_params['secret']}"


Task = Callable[[Visit], Response]
Refusal = Callable[[Visit, StripeError], Response]


def task(do: Task, refused: Refusal | None = None) -> Callable[[Request], Awaitable[Response]]:
    """The handler that does this in an open portal, in one transaction.

    What a StripeError has interrupted leaves no trace, and `refused` answers in a new transaction.
    """

    async def handler(request: Request) -> Response:
        fields = dict(request.query_params)
        if request.method == "POST":
            fields.update(await forms.read(request))
        try:
            return _visit(request, fields, do)
        except StripeError as error:
            if refused is None:
                raise
            answer, why = refused, error
        return _visit(request, fields, lambda visit: answer(visit, why))

    return forms.guarded(handler)


def _visit(request: Request, fields: dict[str, str], do: Task) -> Response:
    secret = request.path_params["secret"]
    base_url = str(request.base_url).rstrip("/")
    with request.app.state.store.transaction(base_url=base_url) as tx:
        portal = portal_acts.enter(tx, secret)
        if portal is None:
            return _over(portal_sessions.return_url_of(tx, secret))
        visit = Visit(request, tx, portal, fields)
        try:
            return do(visit)
        except NotAllowed:
            return go_home(visit, "none")


def _over(return_url: str) -> Response:
    values: dict[str, object] = {
        "return_url": return_url,
        "shop": shop_of({"success_url": return_url}),
    }
    return rendering.page("portal_over.html", values, status=410 if return_url else 404)


def page(visit: Visit, template: str, values: dict[str, object], *, status: int = 200) -> Response:
    """A page of the portal, in its frame."""
    return_url = visit.portal.session["return_url"] or ""
    flow = open_flow(visit)
    frame: dict[str, object] = {
        "base": visit.base,
        "return_url": return_url,
        "shop": shop_of({"success_url": return_url}),
        # In a flow there is one task and no way to the others, as with Stripe.
        "in_flow": flow is not None,
        "said": SAID.get(visit.fields.get("said", ""), ""),
        "profile": visit.portal.configuration["business_profile"],
    }
    ways_out = [return_url, _redirect_of(flow)]
    return rendering.page(template, {**frame, **values}, status=status, ways_out=ways_out)


def open_flow(visit: Visit) -> dict[str, Any] | None:
    """The task that the session is for, until it is done; None for a portal to walk about in."""
    session = visit.portal.session
    done = visit.tx.private(session["id"]).get("flow_done")
    flow: dict[str, Any] | None = session["flow"]
    return None if done else flow


def _redirect_of(flow: dict[str, Any] | None) -> str:
    redirect = flow["after_completion"]["redirect"] if flow else None
    return str(redirect["return_url"]) if redirect else ""


def go_home(visit: Visit, said: str) -> Response:
    """303 to the portal's first page, which says that."""
    return _go(f"{visit.base}?said={said}")


def done(visit: Visit, said: str) -> Response:
    """After a task: the first page, or what the session's flow wants."""
    flow = open_flow(visit)
    if flow is None:
        return go_home(visit, said)
    session_id = visit.portal.session["id"]
    private = {**visit.tx.private(session_id), "flow_done": True}
    records.replace_private(visit.tx, session_id, private)
    after = flow["after_completion"]
    if after["type"] == "redirect":
        return _go(_redirect_of(flow))
    if after["type"] == "hosted_confirmation":
        return _go(f"{visit.base}/done?said={said}")
    return go_home(visit, said)


def _go(url: str) -> Response:
    return RedirectResponse(url, status_code=303, headers={"cache-control": "no-store"})


def show(visit: Visit) -> Response:
    """GET /p/session/{secret}: everything at a glance, or the one task that the session is for."""
    flow = open_flow(visit)
    if flow is not None and "said" not in visit.fields:
        return _go(f"{visit.base}{_path_of(flow)}")
    tx, portal = visit.tx, visit.portal
    values: dict[str, object] = {
        "plans": portal_views.plans(tx, portal),
        "cards": portal_views.cards(tx, portal),
        "invoices": portal_views.invoices(tx, portal),
        "shows_invoices": portal.features["invoice_history"]["enabled"],
        "adds_cards": portal.features["payment_method_update"]["enabled"],
        "who": portal.customer["email"] or portal.customer["name"] or "",
    }
    return page(visit, "portal.html", values)


def _path_of(flow: dict[str, Any]) -> str:
    kind = flow["type"]
    if kind == "payment_method_update":
        return "/cards/new"
    plan = f"/plans/{flow[kind]['subscription']}"
    if kind == "subscription_update_confirm":
        item = flow[kind]["items"][0]
        return f"{plan}/change?price={item['price']}&quantity={item['quantity']}"
    return f"{plan}/cancel" if kind == "subscription_cancel" else plan


def confirm_done(visit: Visit) -> Response:
    """GET /p/session/{secret}/done: the end of a flow that has a page of its own for it."""
    flow = visit.portal.session["flow"] or {}
    shown = (flow.get("after_completion") or {}).get("hosted_confirmation") or {}
    return page(visit, "portal_done.html", {"message": shown.get("custom_message") or ""})


routes = [
    Route("/p/session/{secret}", task(show), methods=["GET"]),
    Route("/p/session/{secret}/done", task(confirm_done), methods=["GET"]),
]
