"""Calls about customers."""

from __future__ import annotations

from typing import Any, cast

from bursar.providers.port import CustomerOrder
from bursar.providers.stripe.client import calls
from bursar.providers.stripe.translate import fields


class Customers(calls.Caller):
    async def create_customer(self, order: CustomerOrder) -> str:
        params: dict[str, Any] = {"metadata": {**order.metadata, fields.REFERENCE: order.reference}}
        if order.email:
            params["email"] = order.email
        if order.name:
            params["name"] = order.name
        customer = await calls.call(
            self._client.v1.customers.create_async(cast("Any", params), calls.once(order.reference))
        )
        return customer.id

    async def find_customer(self, order: CustomerOrder) -> str | None:
        params: dict[str, Any] = {"limit": 100}
        if order.email:
            params["email"] = order.email
        listed = await calls.call(self._client.v1.customers.list_async(cast("Any", params)))
        for customer in listed.data:
            if (customer.to_dict().get("metadata") or {}).get(fields.REFERENCE) == order.reference:
                return customer.id
        return None
