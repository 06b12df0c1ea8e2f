"""The page on the API lists the calls that the server has, and no other."""

from __future__ import annotations

import re

from bursar import config
from bursar.clock import SystemClock
from bursar.db import Database
from bursar.db.tags import TagCache
from bursar.entrypoints.api import create_app
from bursar.wiring import Wiring
from tidy.sources import ROOT, text


async def test_every_call_has_a_line_and_every_line_a_call(db: Database) -> None:
    settings = config.read(None, database_url=db.url, stripe_secret_key="sk_test_docs")
    wiring = Wiring(settings, db, SystemClock(), {}, TagCache(db.url))
    described = create_app(wiring).openapi()["paths"]
    calls = {f"{verb.upper()} {path}" for path, verbs in described.items() for verb in verbs}
    page = text(ROOT / "docs" / "reference" / "api.md")
    assert set(re.findall(r"^\| `([A-Z]+ /\S*)` \|", page, re.M)) == calls
