"""The mailbox: a mail server that keeps every letter, and a page that shows them.

It stands for the mail provider of a shop. Nothing that it takes goes on to anybody.
"""

from __future__ import annotations

from bursar_sandbox.mailbox.kept import keep
from bursar_sandbox.mailbox.pages import mailbox_routes
from bursar_sandbox.mailbox.server import Letter, Server

__all__ = ["Letter", "Server", "keep", "mailbox_routes"]
