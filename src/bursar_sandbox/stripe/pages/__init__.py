"""The pages a buyer sees when the sandbox plays Stripe, and the one for who runs it.

Owns the hosted payment page, the bank's page, payment links, receipts, invoices, the customer
portal, the overview, and their styles and script. It never touches the API's routes, and it never
charges anything itself: `bursar_sandbox.stripe.checkout` does.
"""

from __future__ import annotations

from starlette.routing import Route

from bursar_sandbox.stripe.pages import (
    bank,
    codes,
    hosted,
    invoice_paying,
    invoices,
    links,
    overview,
    portal,
    portal_methods,
    portal_plans,
    quantities,
    receipts,
    rendering,
)

page_routes = [
    *hosted.routes,
    *codes.routes,
    *quantities.routes,
    *bank.routes,
    *links.routes,
    *invoice_paying.routes,
    *invoices.routes,
    *receipts.routes,
    *portal.routes,
    *portal_plans.routes,
    *portal_methods.routes,
    *overview.routes,
    Route("/_sandbox/static/{name}", rendering.static_file, methods=["GET"]),
]

__all__ = ["page_routes"]
