"""Settings: refused by name when they can't work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bursar import config, errors
from bursar.config import Limit, Settings, origin_of, parse_limit

KEYS = (
    "DATABASE_URL",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "FRONTEND_URL",
    "STRIPE_API_BASE",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("BURSAR_") or name in KEYS:
            monkeypatch.delenv(name)


def read(**environment: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return config.read(None)


def refusal(**environment: str) -> str:
    with pytest.raises(errors.Misconfigured) as caught:
        read(**environment).require_provider()
    return caught.value.detail


def test_the_sandbox_serves_only_when_asked() -> None:
    settings = read(STRIPE_SECRET_KEY="sk_test_0123456789")
    assert (settings.mode, settings.stripe_base) == ("test", "https://api.stripe.com")
    settings = read(STRIPE_SECRET_KEY="sk_test_0123456789", BURSAR_SANDBOX="1")
    assert (settings.mode, settings.stripe_base) == ("sandbox", "http://127.0.0.1:12111")
    assert read(STRIPE_SECRET_KEY="sk_live_0123456789").mode == "live"


def test_what_is_missing_or_wrong_is_named() -> None:
    assert "STRIPE_SECRET_KEY" in refusal()
    assert "STRIPE_WEBHOOK_SECRET" in refusal(STRIPE_SECRET_KEY="sk_test_0123456789")
    assert "publishable" in refusal(STRIPE_SECRET_KEY="pk_test_0123456789")
    live = {"STRIPE_SECRET_KEY": "sk_live_0123456789", "STRIPE_WEBHOOK_SECRET": "whsec_1"}
    assert "test key" in refusal(**live, BURSAR_SANDBOX="1")
    for secret in (" , ", "hello", "whsec_1,hello"):
        assert "STRIPE_WEBHOOK_SECRET" in refusal(
            STRIPE_SECRET_KEY="sk_test_0123456789", STRIPE_WEBHOOK_SECRET=secret
        )
    read(**live).require_provider()


def test_a_command_that_only_calls_needs_the_key_and_no_webhook_secret() -> None:
    read(STRIPE_SECRET_KEY="sk_test_0123456789").require_key()
    with pytest.raises(errors.Misconfigured, match="STRIPE_SECRET_KEY"):
        read(STRIPE_WEBHOOK_SECRET="whsec_1").require_key()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BURSAR_LIMIT_CHECKOUT", "5 per second"),
        ("BURSAR_PORT", "70000"),
        ("FRONTEND_URL", "javascript:alert(1)"),
        ("BURSAR_ALLOWED_ORIGINS", "https://ok.example,nonsense"),
        ("BURSAR_BRAND_ACCENT", "blue"),
        ("DATABASE_URL", "mysql://user@host/database"),
    ],
)
def test_a_value_that_is_no_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(errors.Misconfigured) as caught:
        read(**{name: value})
    assert name in caught.value.detail or "http(s) address" in caught.value.detail


def test_a_dotenv_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("BURSAR_PORT=9001\nSTRIPE_WEBHOOK_SECRET=whsec_a, whsec_b\nFRONTEND_URL=\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BURSAR_HOST", "::1")
        settings = config.read(file)
    assert (settings.port, settings.host) == (9001, "::1")
    assert settings.stripe_webhook_secrets == ("whsec_a", "whsec_b")
    assert settings.frontend_url == ""


def test_redirects_go_to_the_shop_and_to_ourselves() -> None:
    settings = read(FRONTEND_URL="https://Shop.example/app/")
    assert settings.origins == {"https://shop.example", "http://127.0.0.1:8000"}
    settings = read(BURSAR_ALLOWED_ORIGINS="https://a.example, https://b.example:8443")
    assert settings.origins == {
        "https://a.example",
        "https://b.example:8443",
        "http://127.0.0.1:8000",
    }


def test_limits_are_read() -> None:
    assert parse_limit("5/10s") == Limit(5, 10)
    assert parse_limit("10/15m") == Limit(10, 900)
    assert parse_limit("1/h") == Limit(1, 3600)
    assert parse_limit("off") is None


def test_origins_drop_default_ports() -> None:
    assert origin_of("https://Shop.example:443/x") == "https://shop.example"
    assert origin_of("http://[::1]:8000") == "http://[::1]:8000"
