"""Plans on sale, for anyone."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from bursar.billing import catalog_plans
from bursar.billing.catalog_plans import Plan
from bursar.entrypoints.api.answers import answer
from bursar.entrypoints.api.entitlement_bodies import (
    LimitAnswer,
    PlanAnswer,
    PlanDurationAnswer,
    PlanPriceAnswer,
    PlansAnswer,
)
from bursar.entrypoints.api.openapi import described
from bursar.entrypoints.api.state import api_of
from bursar.money import format_money, price_per_credit

router = APIRouter(tags=["catalogue"])


def _plan(plan: Plan) -> PlanAnswer:
    return PlanAnswer(
        id=plan.key,
        name=plan.name,
        description=plan.description,
        unit=plan.unit,
        credits=plan.credits,
        features=[right.feature for right in plan.rights if right.amount is None],
        limits={
            right.feature: LimitAnswer(count=right.amount, per=right.per)
            for right in plan.rights
            if right.amount is not None
        },
        trial_days=plan.trial_days,
        group=plan.group,
        prices=[
            PlanPriceAnswer(
                interval=price.interval,
                amount=price.amount_minor,
                currency=price.currency,
                price_formatted=format_money(price.amount_minor, price.currency),
            )
            for price in plan.prices
        ],
        durations=[
            PlanDurationAnswer(
                months=duration.months,
                amount=duration.amount_minor,
                currency=duration.currency,
                price_formatted=format_money(duration.amount_minor, duration.currency),
                per_month=price_per_credit(
                    duration.amount_minor, duration.currency, duration.months
                ),
            )
            for duration in plan.durations
        ],
    )


@router.get("/api/plans", response_model=PlansAnswer, **described(signed_in=False, refusals=(503,)))
async def list_plans(request: Request) -> Response:
    """List the plans on sale at the provider that this deployment uses first."""
    wiring = api_of(request).wiring
    async with wiring.db.connection() as conn:
        plans = await catalog_plans.list_plans(conn, next(iter(wiring.providers), ""))
    return answer(PlansAnswer(data=[_plan(plan) for plan in plans]))
