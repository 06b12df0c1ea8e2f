"""Settings: read once from the environment or `.env`, checked, then frozen.

The only room besides the tests that reads the environment for a setting. Names that everybody
knows stand as they are (`DATABASE_URL`, `STRIPE_SECRET_KEY`); ours begin with `BURSAR_`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bursar import errors

Mode = Literal["sandbox", "test", "live"]

SANDBOX_PUBLISHABLE_KEY = "pk_test_bursar_sandbox"
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests in `seconds`."""

    count: int
    seconds: int


def parse_limit(text: str) -> Limit | None:
    """`5/10s` as a limit, `off` as None. Raises ValueError for anything else."""
    if text.strip().lower() == "off":
        return None
    match = re.fullmatch(r"(\d{1,7})/(\d{0,4})([smhd])", text.strip())
    if match is None or int(match[1]) < 1:
        raise ValueError(f"{text!r} is no limit; write it like 5/10s, or off")
    return Limit(int(match[1]), int(match[2] or 1) * UNIT_SECONDS[match[3]])


def origin_of(url: str) -> str:
    """Scheme, host and port of an absolute http(s) URL, lower case. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no http(s) address")
    default = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != default else "")


def default_home() -> Path:
    """Where the embedded data lies when BURSAR_HOME is not set."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/bursar")
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "bursar"


CommaList = Annotated[tuple[str, ...], NoDecode]
LimitSetting = Annotated[Limit | None, NoDecode]


class Settings(BaseSettings):
    """All settings of a deployment. docs/reference/settings.md has a line on each."""

    model_config = SettingsConfigDict(
        env_prefix="BURSAR_", extra="ignore", frozen=True, populate_by_name=True
    )

    database_url: str | None = Field(None, validation_alias="DATABASE_URL")
    home: Path = Field(default_factory=default_home)
    pg_bin: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    public_url: str = ""
    frontend_url: str = Field("", validation_alias="FRONTEND_URL")
    allowed_origins: CommaList = ()
    trusted_proxies: CommaList = ()

    sandbox: bool = False
    sandbox_stripe_port: int = Field(12111, ge=1, le=65535)
    sandbox_lemonsqueezy_port: int = Field(12112, ge=1, le=65535)
    sandbox_paddle_port: int = Field(12113, ge=1, le=65535)
    sandbox_smtp_port: int = Field(0, ge=0, le=65535)

    stripe_secret_key: str = Field("", validation_alias="STRIPE_SECRET_KEY")
    stripe_publishable_key: str = Field("", validation_alias="STRIPE_PUBLISHABLE_KEY")
    stripe_webhook_secrets: CommaList = Field((), validation_alias="STRIPE_WEBHOOK_SECRET")
    stripe_api_base: str = Field("", validation_alias="STRIPE_API_BASE")

    worker_lease_seconds: float = Field(90.0, gt=0, le=3600)
    worker_poll_seconds: float = Field(0.2, gt=0, le=60)

    catalog: Path = Path("catalog.toml")
    shop_name: str = Field("Bursar", max_length=80)
    brand_accent: str = Field("#0b6477", pattern=r"^#[0-9a-fA-F]{6}$")
    brand_logo: Path | None = None

    smtp_url: str = ""
    mail_from: str = Field("", max_length=320)
    operator_email: str = Field("", max_length=320)
    receipts: Literal["bursar", "provider"] = "provider"

    promotion_codes: bool = True
    automatic_tax: bool = False
    payment_methods: CommaList = ()
    country_header: str = Field("", pattern=r"^([A-Za-z][A-Za-z0-9-]{0,63})?$")

    team_seats: Annotated[int, Field(ge=1, le=1000)] | None = None

    refund_of_spent: Literal["debt", "refuse", "forgive"] = "debt"
    block_use_while_owing: bool = False

    grace_hours: int = Field(72, ge=3, le=24 * 60)
    dunning_attempts: Annotated[int, Field(ge=1, le=20)] | None = 3
    duplicate_subscriptions: Literal["alert", "cancel"] = "alert"

    limit_payment_intent: LimitSetting = Limit(10, 900)
    limit_checkout: LimitSetting = Limit(5, 10)
    limit_sign_in: LimitSetting = Limit(10, 900)
    limit_voucher: LimitSetting = Limit(10, 900)
    limit_api: LimitSetting = Limit(600, 60)

    @field_validator(
        "allowed_origins",
        "trusted_proxies",
        "stripe_webhook_secrets",
        "payment_methods",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator(
        "limit_payment_intent",
        "limit_checkout",
        "limit_sign_in",
        "limit_voucher",
        "limit_api",
        mode="before",
    )
    @classmethod
    def _limit(cls, value: object) -> object:
        return parse_limit(value) if isinstance(value, str) else value

    @field_validator("team_seats", "dunning_attempts", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "off" else value

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        # `NAME=` in a .env file means "not set", as it does to everybody who writes one.
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if value != ""}
        return values

    @model_validator(mode="after")
    def _check_addresses(self) -> Self:
        for url in (self.own_url, self.shop_url, *self.allowed_origins):
            origin_of(url)
        if self.database_url and not re.match(r"postgres(ql)?://", self.database_url):
            raise ValueError("DATABASE_URL is an address like postgresql://user@host/database")
        return self

    @property
    def own_url(self) -> str:
        """This server's own address as browsers see it, without a slash at the end."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def base_path(self) -> str:
        """The path of our own address, `/billing` when we are mounted there; empty at the root."""
        return urlsplit(self.own_url).path

    @property
    def shop_url(self) -> str:
        """Where buyers come back to: FRONTEND_URL, else our own pages."""
        return (self.frontend_url or self.own_url).rstrip("/")

    @cached_property
    def origins(self) -> frozenset[str]:
        """The origins to which a redirect may lead."""
        named = self.allowed_origins or (self.shop_url,)
        return frozenset(origin_of(url) for url in (*named, self.own_url))

    @property
    def stripe_base(self) -> str:
        """Where Stripe's API is: the sandbox when it is asked for, unless another is named."""
        if self.stripe_api_base:
            return self.stripe_api_base.rstrip("/")
        if self.sandbox:
            return f"http://127.0.0.1:{self.sandbox_stripe_port}"
        return "https://api.stripe.com"

    @property
    def mode(self) -> Mode:
        """Which money moves: the sandbox's, the provider's test money, or real money."""
        if self.sandbox:
            return "sandbox"
        return "live" if re.match(r"(sk|rk)_live_", self.stripe_secret_key) else "test"

    @property
    def publishable_key(self) -> str:
        """The key that browsers are given; the sandbox takes any. Empty: no card form is shown."""
        return self.stripe_publishable_key or (SANDBOX_PUBLISHABLE_KEY if self.sandbox else "")

    def _require_publishable_key(self) -> None:
        """Raise errors.Misconfigured for a key that no browser must have, or of another mode."""
        key = self.stripe_publishable_key
        if key and not re.match(r"pk_(test|live)_\w+", key):
            raise errors.Misconfigured(
                "STRIPE_PUBLISHABLE_KEY is no publishable key: it begins with pk_test_ or pk_live_ "
                "(a secret key must never reach a browser)."
            )
        if key and key.startswith("pk_live_") != (self.mode == "live"):
            raise errors.Misconfigured(
                "STRIPE_PUBLISHABLE_KEY and STRIPE_SECRET_KEY are of different modes: both are "
                "test keys, or both are live keys."
            )

    def require_provider(self) -> None:
        """Raise errors.Misconfigured unless a provider can be called and its webhooks verified."""
        self.require_key()
        self._require_webhook_secret()

    def require_key(self) -> None:
        """Raise errors.Misconfigured unless a provider can be called; its webhooks come to others.

        The rule for commands that only call: `bursar catalog push`, `bursar worker`.
        """
        if not self.stripe_secret_key:
            raise errors.Misconfigured(
                "No payment provider is set up. Set STRIPE_SECRET_KEY (and STRIPE_WEBHOOK_SECRET) "
                "in the environment or .env, or run `bursar demo` to try everything without keys."
            )
        if self.sandbox and not self.stripe_secret_key.startswith(("sk_test_", "rk_test_")):
            raise errors.Misconfigured(
                "BURSAR_SANDBOX=1 goes with a test key (sk_test_…); STRIPE_SECRET_KEY is none."
            )
        if not re.match(r"(sk|rk)_(test|live)_\w+", self.stripe_secret_key):
            raise errors.Misconfigured(
                "STRIPE_SECRET_KEY is no secret key: it begins with sk_test_ or sk_live_ "
                "(a publishable key, pk_…, belongs in STRIPE_PUBLISHABLE_KEY)."
            )
        self._require_publishable_key()

    def _require_webhook_secret(self) -> None:
        if any(not secret.startswith("whsec_") for secret in self.stripe_webhook_secrets):
            raise errors.Misconfigured(
                "STRIPE_WEBHOOK_SECRET is no signing secret: it begins with whsec_ (several are "
                "separated by commas while one replaces another)."
            )
        if not self.stripe_webhook_secrets:
            where = (
                "Take the signing secret (whsec_…) that `bursar listen` prints: it forwards the "
                "sandbox's webhooks."
                if self.sandbox
                else "Copy the endpoint's signing secret (whsec_…) from the provider's dashboard."
            )
            raise errors.Misconfigured(
                f"STRIPE_WEBHOOK_SECRET is not set, so no webhook could be verified. {where}"
            )


def read(env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """Settings from the environment, then `env_file`. Raises errors.Misconfigured by name."""
    try:
        return Settings(_env_file=env_file, **overrides)  # type: ignore[call-arg]
    except ValidationError as error:
        lines = [f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise errors.Misconfigured("Settings are not valid: " + "; ".join(lines)) from error


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable that a fault was found in."""
    name = str(place[0]) if place else "settings"
    return name if name not in Settings.model_fields else f"BURSAR_{name.upper()}"
