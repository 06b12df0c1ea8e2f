"""The pages a buyer sees when the sandbox plays Stripe.

Owns the hosted payment page and its styles and script. It never touches the API's routes, and
it never charges anything itself: `bursar_sandbox.stripe.checkout` does.
"""

from __future__ import annotations

from bursar_sandbox.stripe.pages.hosted import hosted_routes

__all__ = ["hosted_routes"]
