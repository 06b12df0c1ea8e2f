"""Our verification of Stripe's signature, with Stripe's own library as a second opinion."""

from __future__ import annotations

import hmac
import time
from hashlib import sha256

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from bursar import errors
from bursar.providers.stripe import signature

SECRET = "whsec_test"
BODY = b'{"id": "evt_1"}'
NOW = 1_790_000_000


def sign(body: bytes = BODY, secret: str = SECRET, at: int = NOW, scheme: str = "v1") -> str:
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return f"t={at},{scheme}={digest}"


def verify(header: str | None, body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> None:
    signature.verify(body, header, secrets, now=NOW)


def code(header: str | None, body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> str:
    with pytest.raises(errors.NotAuthentic) as caught:
        verify(header, body, secrets)
    return caught.value.code


def test_what_stripes_library_signs_is_authentic() -> None:
    header = stripe.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, NOW)
    verify(header)


def test_what_we_accept_stripes_library_accepts() -> None:
    header = sign(at=int(time.time()))
    signature.verify(BODY, header, [SECRET], now=time.time())
    assert stripe.Webhook.construct_event(BODY, header, SECRET).id == "evt_1"


def test_either_of_two_secrets_and_either_of_two_signatures_will_do() -> None:
    verify(sign(), secrets=("whsec_new", SECRET))
    wrong = "0" * 64
    verify(sign() + f",v1={wrong}")
    verify(f"v1={wrong}," + sign())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "signature_missing"),
        ("", "signature_malformed"),
        ("v1=" + "0" * 64, "signature_malformed"),
        ("t=,v1=" + "0" * 64, "signature_malformed"),
        ("t=1e9,v1=" + "0" * 64, "signature_malformed"),
        ("t=٣,v1=" + "0" * 64, "signature_malformed"),
        ("garbage", "signature_malformed"),
        (f"t={NOW}", "signature_invalid"),
        (f"t={NOW},v1=" + "0" * 64, "signature_invalid"),
        (f"t={NOW},v1=é", "signature_invalid"),
        (sign(scheme="v0"), "signature_invalid"),
        (sign().upper().replace("T=", "t=").replace("V1=", "v1="), "signature_invalid"),
        (sign(secret="whsec_other"), "signature_invalid"),
        (sign(at=NOW - 301), "timestamp_out_of_tolerance"),
        (sign(at=NOW + 301), "timestamp_out_of_tolerance"),
        (sign() + f",t={NOW}", "signature_malformed"),
    ],
)
def test_what_is_not_authentic_is_refused_by_name(header: str | None, expected: str) -> None:
    assert code(header) == expected


def test_a_changed_body_is_refused() -> None:
    assert code(sign(), BODY + b"\n") == "signature_invalid"


def test_a_signature_with_a_new_time_is_refused() -> None:
    replayed = sign(at=NOW - 400).replace(f"t={NOW - 400}", f"t={NOW}")
    assert code(replayed) == "signature_invalid"


@given(st.text(max_size=300), st.binary(max_size=100))
def test_no_header_and_no_body_raise_anything_else(header: str, body: bytes) -> None:
    with pytest.raises(errors.NotAuthentic):
        verify(header, body)
