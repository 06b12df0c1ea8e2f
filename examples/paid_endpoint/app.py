"""A paid endpoint: POST /summarize costs one credit a call. README.md says how to run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from bursar import Bursar, Event, config, errors

HERE = Path(__file__).parent
COST = 1

bursar = Bursar(config.read(HERE / "sandbox.env", home=HERE / "data"))


@bursar.on("payment.completed", name="paid_endpoint.greet")
async def greet(event: Event) -> None:
    """At least once for each payment. A real app would send a mail, under the event's id."""
    print(f"thanks {event.data['user_id']} {event.data['credits']} {event.id}", flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with bursar.lifespan(app):
        await bursar.catalog.push(HERE / "catalog.toml")
        yield


app = FastAPI(title="Summaries", lifespan=lifespan)
app.mount("/billing", bursar.app)


def signed_in(x_user: Annotated[str, Header(max_length=128)]) -> str:
    """Stands for your own login. Never believe such a header outside of an example."""
    return x_user


class Text(BaseModel):
    text: Annotated[str, Field(max_length=20_000)]


User = Annotated[str, Depends(signed_in)]
Key = Annotated[str | None, Header(alias="Idempotency-Key")]


@app.post("/summarize")
async def summarize(user: User, body: Text, idempotency_key: Key = None) -> Response:
    """Reserve, work, settle: who can't pay costs no work, and work that fails costs nothing."""
    key = idempotency_key or str(uuid4())
    try:
        hold = await bursar.credits.hold(user, COST, key=key, description="A summary")
    except errors.InsufficientCredits as error:
        return JSONResponse({"detail": error.detail, "buy": "/buy"}, 402)
    try:
        summary = first_sentence(body.text)
    except Exception:
        await bursar.credits.release(user, hold.hold_id)
        raise
    used = await bursar.credits.capture(user, hold.hold_id, key=f"{key}:done", amount=COST)
    return JSONResponse({"summary": summary, "credits_left": used.balance})


@app.get("/buy")
async def buy(user: User) -> Response:
    """To the provider's page, where ten credits are paid for."""
    return RedirectResponse((await bursar.checkouts.open(user, package="ten")).url, 303)


def first_sentence(text: str) -> str:
    """The work. Nothing to summarize is a failure, so that it can be seen to cost nothing."""
    if not text.strip():
        raise HTTPException(422, "There is nothing to summarize.")
    return text.strip().partition(".")[0] + "."
