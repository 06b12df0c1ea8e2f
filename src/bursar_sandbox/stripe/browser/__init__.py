"""What a shop's page loads when the sandbox plays Stripe: the browser library and its frames.

Owns the library's address, the page inside of the frame where a card is typed, and the calls that
a browser makes with a publishable key. The card's number is typed in the frame and sent from it to
this sandbox; the shop's page never has it.
"""

from __future__ import annotations

from bursar_sandbox.stripe.browser import calls, library

browser_calls = calls.routes
browser_routes = library.routes

__all__ = ["browser_calls", "browser_routes"]
