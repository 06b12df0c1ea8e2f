"""The families: what kind of refusal or failure it is. HTTP is not known here."""

from __future__ import annotations


class Error(Exception):
    """Something that Bursar refuses or could not do."""

    code = "error"

    def __init__(self, detail: str | None = None, **fields: object) -> None:
        super().__init__(detail or (self.__doc__ or "").strip().splitlines()[0])
        self.detail = str(self.args[0])
        self.fields = fields


class NotFound(Error):
    """There is no such object, or it belongs to somebody else."""

    code = "not_found"


class Conflict(Error):
    """The object's present state does not allow this."""

    code = "conflict"


class Invalid(Error):
    """The request is not valid."""

    code = "validation_error"

    def __init__(
        self, detail: str | None = None, *, errors: list[dict[str, str]] | None = None, **f: object
    ) -> None:
        super().__init__(detail, **f)
        self.errors = errors or []


class Denied(Error):
    """You are known, but this is not allowed to you."""

    code = "forbidden"


class Unauthenticated(Error):
    """Sign in, or send a valid API key as a Bearer token."""

    code = "unauthenticated"


class NotAuthentic(Error):
    """The message is not signed by the provider, or its signature is too old."""

    code = "signature_invalid"


class Throttled(Error):
    """Too many requests; wait before you try again."""

    code = "rate_limited"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class InsufficientCredits(Error):
    """The balance does not cover this use."""

    code = "insufficient_credits"


class Unavailable(Error):
    """A part that Bursar needs does not answer; nothing was lost, try again."""

    code = "unavailable"


class Misconfigured(Error):
    """This deployment can't run with its present settings."""

    code = "misconfigured"


class ProviderUnavailable(Error):
    """The payment provider can't be reached; nothing was charged, try again."""

    code = "provider_unavailable"


class ProviderRejected(Error):
    """The payment provider refused the request."""

    code = "provider_rejected"


class ProviderUnknown(Error):
    """The payment provider's answer was lost; we are asking it what happened."""

    code = "provider_unknown"
