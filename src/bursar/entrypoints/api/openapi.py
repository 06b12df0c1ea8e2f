"""The description of the API (OpenAPI 3.1): what the code does is what it says.

Bodies are read by our own dependencies, so that who asks is decided first; FastAPI does not see
them, and `described` says for each route what they are, and every refusal it can give.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bursar.entrypoints.api import problems, requests
from bursar.entrypoints.api.answers import ReceivedAnswer, UseAnswer
from bursar.providers.port import PROVIDER_NAMES

BODIES: tuple[type[BaseModel], ...] = (
    requests.UserRequest,
    requests.SessionRequest,
    requests.CheckoutRequest,
    requests.RefundRequest,
    requests.UseRequest,
    requests.ReverseRequest,
)
# Bodies that stand in the module of their route; `described` notes them.
_of_routes: dict[str, type[BaseModel]] = {}

WHY = {
    400: "Broken JSON, or a header that can't be read.",
    401: "No valid key.",
    402: "The balance does not cover it.",
    403: "The key's kind may not do this.",
    404: "There is no such object, or it belongs to somebody else.",
    409: "The object's state, or the provider, does not allow this.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field, a header or a query parameter is not valid.",
    429: "Too many requests.",
    502: "The payment provider refused.",
    503: "The database or the payment provider does not answer; try again.",
    504: "The payment provider's answer was lost.",
}
SIGNED_IN = (401, 403, 429, 503)
WITH_BODY = (400, 413, 415, 422)

ACTING = (
    ("Bursar-User", "For a service key: the user for whom it acts, made on first sight.", 128),
    ("Bursar-Customer", "A team's customer id; the user's own account by default.", 18),
)
KEY = ("Idempotency-Key", "Makes a repeat of the same request give the same answer.", 255)


def described(
    *,
    refusals: tuple[int, ...] = (),
    signed_in: bool = True,
    acting: bool = False,
    body: type[BaseModel] | None = None,
    idempotent: bool = False,
    key_required: bool = False,
) -> dict[str, Any]:
    """The arguments of a route's decorator for what FastAPI can't see by itself.

    `acting`: the route is for a user, so a service key names one. `idempotent`: it takes an
    Idempotency-Key, and with `key_required` nothing goes without one.
    """
    statuses = {*refusals, *(SIGNED_IN if signed_in else ()), *(WITH_BODY if body else ())}
    if acting:
        statuses |= {404, 422}
    headers = [_header(*header) for header in ACTING] if acting else []
    if idempotent or key_required:
        statuses |= {400, 422}
        headers.append(_header(*KEY, required=key_required))
    extra: dict[str, Any] = {}
    if signed_in:
        extra["security"] = [{"key": []}]
    if headers:
        extra["parameters"] = headers
    if body is not None:
        _of_routes[body.__name__] = body
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        extra["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return {
        "responses": {status: _refusal(status) for status in sorted(statuses)},
        "openapi_extra": extra,
    }


def _header(name: str, description: str, length: int, *, required: bool = False) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": length}
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": schema,
    }


def _refusal(status: int) -> dict[str, Any]:
    refusal: dict[str, Any] = {
        "description": WHY[status],
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in (429, 503):
        wait = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
        refusal["headers"] = {"Retry-After": wait}
    return refusal


PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "A refusal (RFC 9457). `code` is stable.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "Where the code is explained."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "subscription_id": {"type": "integer", "description": "The one that is in the way."},
        "pricing_url": {"type": "string", "description": "Where something is bought first."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def _webhook(name: str) -> dict[str, Any]:
    """The description of the webhook's address, which is a bare endpoint."""
    accepted = {
        "description": "Stored; what it means is worked off by us.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ReceivedAnswer"}}
        },
    }
    parameter = {
        "name": "provider",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": list(PROVIDER_NAMES)},
    }
    operation = {
        "tags": ["webhooks"],
        "summary": "Receive a provider's signed message",
        "operationId": name,
        "parameters": [parameter],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "responses": {
            "200": accepted,
            **{str(status): _refusal(status) for status in (400, 409, 413, 415, 503)},
        },
    }
    return {"post": operation}


def _use() -> dict[str, Any]:
    """The description of the address where credits are used, which is a bare endpoint, too."""
    told = described(body=requests.UseRequest, acting=True, key_required=True, refusals=(402,))
    used = {
        "description": "Used, now or by an earlier request under this key.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/UseAnswer"}}},
    }
    refusals = {str(status): refusal for status, refusal in told["responses"].items()}
    operation = {
        "tags": ["credits"],
        "summary": "Use credits",
        "operationId": "use_credits",
        **told["openapi_extra"],
        "responses": {"200": used, **refusals},
    }
    return {"post": operation}


def make(app: FastAPI) -> dict[str, Any]:
    """The whole description of `app`."""
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    if base := app.state.api.wiring.settings.base_path:
        schema["servers"] = [{"url": base}]
    parts = schema.setdefault("components", {}).setdefault("schemas", {})
    _, bodies = models_json_schema(
        [(model, "validation") for model in dict.fromkeys((*BODIES, *_of_routes.values()))],
        ref_template="#/components/schemas/{model}",
    )
    parts |= bodies["$defs"]
    parts["ReceivedAnswer"] = ReceivedAnswer.model_json_schema()
    parts["UseAnswer"] = UseAnswer.model_json_schema()
    parts["Problem"] = PROBLEM
    # FastAPI adds its own shape of 422 to every route with a path parameter; ours is declared.
    parts.pop("HTTPValidationError", None)
    parts.pop("ValidationError", None)
    for operations in schema["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    schema["paths"]["/api/{provider}/webhook"] = _webhook("receive_webhook")
    schema["paths"]["/api/webhooks/{provider}"] = _webhook("receive_webhook_alias")
    schema["paths"]["/api/credits/use"] = _use()
    for path, operations in schema["paths"].items():
        if "{" in path:
            # Another word in the path is another address, where nothing is.
            for operation in operations.values():
                operation["responses"].setdefault("404", _refusal(404))
    schema["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A user, service or admin key."}
    }
    return schema
