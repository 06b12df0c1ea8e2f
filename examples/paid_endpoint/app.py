"""A paid endpoint: POST /summarize costs one credit a call. README.md says how to run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from fastapi import Body, Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, RedirectResponse, Response

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
    return x_user  # stands for your own login; never believe a header outside of an example


User = Annotated[str, Depends(signed_in)]
Text = Annotated[str, Body(embed=True, max_length=20_000)]
Key = Annotated[str | None, Header(alias="Idempotency-Key")]


@app.post("/summarize")
async def summarize(user: User, text: Text, idempotency_key: Key = None) -> Response:
    """Reserve, work, settle: who can't pay costs no work, and work that fails costs nothing."""
    # The text is part of the key, so that one key never lets other work through.
    key = sha256(f"{idempotency_key or uuid4()}\n{text}".encode()).hexdigest()
    try:
        hold = await bursar.credits.hold(user, COST, key=key, description="A summary")
        try:
            summary = first_sentence(text)
        except Exception:
            with suppress(errors.HoldClosed):
                await bursar.credits.release(user, hold.hold_id)
            raise
        try:
            left = (await bursar.credits.capture(user, hold.hold_id, key=f"{key}:done")).balance
        except errors.HoldClosed:  # an earlier try failed and gave it back
            left = (await bursar.credits.use(user, COST, key=f"{key}:late")).balance
    except errors.InsufficientCredits as error:
        return JSONResponse({"detail": error.detail, "buy": "/buy"}, 402)
    return JSONResponse({"summary": summary, "credits_left": left})


@app.get("/buy")
async def buy(user: User) -> Response:
    return RedirectResponse((await bursar.checkouts.open(user, package="ten")).url, 303)


def first_sentence(text: str) -> str:
    """The work. Nothing to summarize is a failure, so that it can be seen to cost nothing."""
    if not text.strip():
        raise HTTPException(422, "There is nothing to summarize.")
    return text.strip().partition(".")[0] + "."
