"""Subscriptions: what the provider tells of them, and what follows for allowances and features.

`merge` brings what was read into the rows, `dues` reckons what was paid for, `follow` gives and
ends it, `guard` looks for two where there should be one. `settle` calls them in this order, in its
own transaction; what asks the provider for something stands beside settle, not here.
"""

from bursar.billing.subscriptions import follow, guard, merge, news, strays

__all__ = ["follow", "guard", "merge", "news", "strays"]
