"""The pages' routes, and what surrounds each of them: where posts come from, and errors as pages.

Owns the list of addresses. Every view is called through `_endpoint`, so no error leaves the pages
in another shape, whatever app they are mounted in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from bursar import errors
from bursar.entrypoints.transport import IN_CLEAR
from bursar.entrypoints.web import (
    account,
    admin,
    admin_orders,
    api_keys,
    checkout,
    forms,
    pages,
    plan_change,
    portal,
    pricing,
    problems,
    sign_in,
    subscribing,
    subscriptions,
    success,
    teams,
    vouchers,
)
from bursar.entrypoints.web.pages import Site
from bursar.wiring import Wiring

View = Callable[[Site, Request], Awaitable[Response]]
PLAN = "/account/plan/{subscription_id}"

# Programs ask here; a browser that comes by gets their answer, not a page.
PROGRAMS = ("/api/", "/user/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")


def routes(wiring: Wiring) -> list[BaseRoute]:
    """The routes of all pages, to stand after those of the API.

    The last one answers browsers where nothing is. Raises errors.Misconfigured for a logo or a
    colour that can't be used.
    """
    site = pages.open_site(wiring)
    served: list[BaseRoute] = [
        Page(path, site.assets.serve, methods=["GET"]) for path in site.assets.by_path
    ]
    served += [
        Page(path, _endpoint(site, view), methods=[method])
        for method, path, view in (
            ("GET", "/", pricing.show),
            ("GET", "/pricing", pricing.show),
            ("POST", "/pricing/buy", pricing.buy),
            ("GET", "/pricing/buy", _to_prices),
            ("POST", "/pricing/subscribe", subscribing.subscribe),
            ("GET", "/pricing/subscribe", _to_prices),
            ("GET", "/checkout", checkout.show),
            ("GET", "/checkout/form", checkout.show_fragment),
            ("POST", "/checkout/intent", checkout.open_intent),
            ("GET", "/checkout/intent", _to_prices),
            ("GET", "/checkout/success", success.show),
            ("GET", "/checkout/success/status", success.show_fragment),
            ("GET", "/account", account.show),
            ("GET", "/account/keys", api_keys.to_list),
            ("POST", "/account/keys", api_keys.create),
            ("GET", "/account/keys/{key_id}/revoke", api_keys.confirm),
            ("POST", "/account/keys/{key_id}/revoke", api_keys.revoke),
            ("GET", "/account/voucher", vouchers.to_form),
            ("POST", "/account/voucher", vouchers.redeem),
            ("POST", "/api/{provider:provider}/portal", portal.leave),
            ("GET", f"{PLAN}/change", plan_change.show),
            ("POST", f"{PLAN}/change", plan_change.confirm),
            ("GET", f"{PLAN}/cancel", subscriptions.confirm_cancel),
            ("POST", f"{PLAN}/cancel", subscriptions.cancel),
            ("GET", f"{PLAN}/resume", subscriptions.to_account),
            ("POST", f"{PLAN}/resume", subscriptions.resume),
            ("GET", f"{PLAN}/pause", subscriptions.to_account),
            ("POST", f"{PLAN}/pause", subscriptions.pause),
            ("GET", "/team/join", teams.show),
            ("POST", "/team/join", teams.join),
            ("GET", "/admin", admin.home),
            ("GET", "/admin/orders", admin_orders.show),
            ("GET", "/admin/orders/{payment_id}", admin_orders.show_one),
            ("GET", "/admin/orders/{payment_id}/capture", admin_orders.confirm_capture),
            ("POST", "/admin/orders/{payment_id}/capture", admin_orders.capture),
            ("GET", "/admin/orders/{payment_id}/cancel", admin_orders.confirm_cancel),
            ("POST", "/admin/orders/{payment_id}/cancel", admin_orders.cancel),
            ("GET", "/sign-in", sign_in.show),
            ("POST", "/sign-in", sign_in.confirm),
            ("POST", "/sign-out", sign_in.sign_out),
            ("POST", "/scheme", sign_in.choose_scheme),
        )
    ]
    return [*served, Elsewhere(site, served)]


async def _to_prices(site: Site, request: Request) -> Response:
    """A reload of the page that a refused form left behind starts over."""
    return RedirectResponse("/pricing", 303)


def _endpoint(site: Site, view: View) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            if request.scope.get(IN_CLEAR):
                raise errors.Denied("Open this page over HTTPS.")
            if request.method == "POST":
                forms.check_origin(request, site.own_url)
            return await view(site, request)
        except errors.Error as error:
            visitor = await problems.seen(site, request, error)
            return problems.failed(site, request, error, visitor)
        except HTTPException as refusal:
            visitor = await problems.seen(site, request)
            status, headers = refusal.status_code, refusal.headers
            return problems.refused(site, request, status, headers, visitor=visitor)
        except ClientDisconnect:
            raise
        except Exception:
            return problems.crashed(site, request)

    return answer


class Page(Route):
    """A route that names itself in the scope, so that logs and figures know it by its pattern."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route does, with itself."""
        match, inner = super().matches(scope)
        if match is Match.FULL:
            inner["route"] = self
        return match, inner


class Elsewhere(BaseRoute):
    """Answers browsers where no page is: 404, or 405 where only the method is wrong."""

    path = "elsewhere"

    def __init__(self, site: Site, served: Sequence[BaseRoute]) -> None:
        self._site = site
        self._served = tuple(served)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Take requests for a page that nothing else took."""
        if scope["type"] != "http" or scope["path"].startswith(PROGRAMS):
            return Match.NONE, {}
        wants_page = "text/html" in Request(scope).headers.get("accept", "")
        return (Match.FULL if wants_page else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page."""
        request = Request(scope, receive)
        methods: set[str] = set()
        for route in self._served:
            if isinstance(route, Route) and route.matches(scope)[0] is Match.PARTIAL:
                methods |= route.methods or set()
        visitor = await problems.seen(self._site, request)
        status, allow = (405, {"allow": ", ".join(sorted(methods))}) if methods else (404, None)
        response = problems.refused(self._site, request, status, allow, visitor=visitor)
        await response(scope, receive, send)
