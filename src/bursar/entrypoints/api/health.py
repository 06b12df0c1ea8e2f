"""Whether the process lives, whether it can serve, and its figures. For machines; no secrets."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from bursar import errors
from bursar.db.migrate import pending
from bursar.entrypoints.api.answers import HealthAnswer, answer
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.state import api_of

router = APIRouter(tags=["operation"])


@router.get("/healthz", response_model=HealthAnswer)
async def get_health() -> Response:
    """The process answers."""
    return answer(HealthAnswer(status="ok"))


@router.get(
    "/readyz",
    response_model=HealthAnswer,
    **described(signed_in=False, refusals=(503,)),
)
async def get_readiness(request: Request) -> Response:
    """The database answers and its schema is the one that this version needs."""
    async with api_of(request).wiring.db.connection() as conn:
        if await pending(conn):
            raise errors.Unavailable("The database's schema is behind; run `bursar migrate`.")
    return answer(HealthAnswer(status="ready"))


@router.get("/metrics", response_class=Response)
async def get_metrics(request: Request) -> Response:
    """Figures of this process in Prometheus' text format."""
    content = api_of(request).metrics.render()
    return Response(content, media_type=CONTENT_TYPE_LATEST)
