"""The pages that people see: pricing, the way back from a payment, the account, signing in.

Plain HTML over forms and links; script only improves. Everything they say comes from the inner
rooms; they decide no price and move no credits.
"""

from bursar.entrypoints.web.routes import routes

__all__ = ["routes"]
