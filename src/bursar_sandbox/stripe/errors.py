"""Stripe's error envelope. Owns the words and codes of refusals; never decides when to refuse."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """A refusal, as the API answers it.

    `keeps` says that what was written before it stays (a declined charge happened); every other
    refusal leaves no trace.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        keeps: bool = False,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keeps = keeps
        self.body: dict[str, Any] = {"message": message, "type": kind}
        if code is not None:
            self.body["code"] = code
            self.body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param is not None:
            self.body["param"] = param
        self.body.update({name: value for name, value in fields.items() if value is not None})

    def envelope(self, request_id: str) -> dict[str, Any]:
        """The answer's body."""
        log = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": {**self.body, "request_log_url": log}}


def no_such(kind: str, object_id: str, param: str = "id", *, in_path: bool = False) -> StripeError:
    """A missing object: 404 when the address names it, 400 when a parameter does."""
    return StripeError(
        f"No such {kind}: '{object_id}'",
        status=404 if in_path else 400,
        code="resource_missing",
        param=param,
    )


def missing_parameter(param: str) -> StripeError:
    """A required parameter was not sent."""
    return StripeError(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown_parameter(param: str) -> StripeError:
    """A parameter that the call doesn't have."""
    return StripeError(
        f"Received unknown parameter: {param}", code="parameter_unknown", param=param
    )


def wrong_state(message: str, code: str, **fields: Any) -> StripeError:
    """The object's present status forbids the call."""
    return StripeError(message, code=code, **fields)


def not_played(what: str, param: str | None = None) -> StripeError:
    """Stripe has it, this sandbox doesn't yet; said aloud so that nobody trusts a silent no-op."""
    return StripeError(f"The sandbox does not play {what} yet.", param=param)
