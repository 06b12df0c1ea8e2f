"""The sandbox's browser library in a real browser, in a page of another origin: its calls, its
events, and that the page around a card's frame never comes to know the card's number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Error, FrameLocator, Page, Route, expect, sync_playwright

from bursar_sandbox.running import Sandbox

pytestmark = pytest.mark.browser

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
GOOD, BANK_ASKS = "4242424242424242", "4000002760003184"
PAGE = """<!doctype html><title>Shop</title>
<script src="{sandbox}/v3/"></script>
<body><div id="card"></div><button id="after">After</button>
<script>
const heard = [];
window.addEventListener("message", (event) => heard.push(JSON.stringify(event.data)));
const stripe = Stripe("pk_test_bursar_tests");
</script>
"""


@dataclass
class Shop:
    """A shop's page with the library in it, and the official client behind it."""

    page: Page
    v1: Any

    @property
    def card(self) -> FrameLocator:
        return self.page.frame_locator("#card iframe")

    def intent(self, **fields: Any) -> Any:
        params = {"amount": 2000, "currency": "usd", "payment_method_types": ["card"], **fields}
        return self.v1.payment_intents.create(params)

    def mount(self, kind: str = "card", options: str = "{hidePostalCode: true}") -> None:
        self.page.evaluate(
            f"""() => {{
              window.events = [];
              window.elements = stripe.elements();
              window.card = elements.create("{kind}", {options});
              card.on("ready", (event) => events.push(["ready", event]));
              card.on("change", (event) => events.push(["change", event]));
              card.mount("#card");
            }}"""
        )
        expect(self.card.get_by_label("Card number")).to_be_visible()

    def fill(self, number: str = GOOD, expiry: str = "1234", code: str = "123") -> None:
        self.card.get_by_label("Card number").press_sequentially(number)
        self.card.get_by_label("Expiry date").fill("")
        self.card.get_by_label("Expiry date").press_sequentially(expiry)
        self.card.get_by_label("Security code").fill(code)

    def run(self, script: str) -> Any:
        return self.page.evaluate(f"async () => {{ {script} }}")


@pytest.fixture
def shop(shared_sandbox: Sandbox, v1: Any) -> Iterator[Shop]:
    html = PAGE.replace("{sandbox}", shared_sandbox.base_url).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = browser.new_page()
        page.goto(f"http://localhost:{server.server_address[1]}/")
        yield Shop(page, v1)
        browser.close()
    server.shutdown()
    server.server_close()


def test_an_element_tells_when_it_is_ready_and_how_far_the_buyer_is(shop: Shop) -> None:
    shop.mount()
    shop.fill()
    expect(shop.page.locator("#card")).to_have_class(
        "StripeElement StripeElement--focus StripeElement--complete"
    )
    events = shop.page.evaluate("events")
    assert events[0] == ["ready", {"elementType": "card"}]
    first, last = events[1][1], events[-1][1]
    assert (first["empty"], first["complete"], first["brand"]) == (False, False, "visa")
    assert (last["empty"], last["complete"], last["brand"]) == (False, True, "visa")
    assert last["elementType"] == "card"
    expect(shop.card.get_by_label("Card number")).to_have_value("4242 4242 4242 4242")
    expect(shop.card.get_by_label("Expiry date")).to_have_value("12 / 34")


@pytest.mark.parametrize(
    ("number", "expiry", "code", "fault"),
    [
        ("4242", "1234", "123", "incomplete_number"),
        ("4242424242424241", "1234", "123", "invalid_number"),
        (GOOD, "12", "123", "incomplete_expiry"),
        (GOOD, "1220", "123", "invalid_expiry_year_past"),
        (GOOD, "1234", "12", "incomplete_cvc"),
        ("378282246310005", "1234", "123", "incomplete_cvc"),
    ],
)
def test_a_card_that_can_not_be_right_is_not_sent(
    shop: Shop, number: str, expiry: str, code: str, fault: str
) -> None:
    sent: list[str] = []
    shop.page.on("request", lambda request: sent.append(request.url))
    shop.mount()
    shop.fill(number, expiry, code)
    secret = shop.intent().client_secret
    result = shop.run(f"return stripe.confirmCardPayment('{secret}', {{payment_method: {{card}}}})")
    assert (result["error"]["type"], result["error"]["code"]) == ("validation_error", fault)
    assert not any("/confirm" in url for url in sent)


def test_the_page_around_the_frame_never_hears_the_number(shop: Shop) -> None:
    shop.mount()
    shop.fill()
    secret = shop.intent().client_secret
    result = shop.run(
        f"return stripe.confirmCardPayment('{secret}', "
        "{payment_method: {card, billing_details: {name: 'Ada'}}})"
    )
    assert result["paymentIntent"]["status"] == "succeeded"
    heard = shop.page.evaluate("heard")
    assert any("answer" in said for said in heard)
    told = "".join([*heard, str(result), shop.page.evaluate("JSON.stringify(events)")])
    assert "4242424242424242" not in told.replace(" ", "")
    with pytest.raises(Error, match="cross-origin"):
        shop.page.evaluate("document.querySelector('#card iframe').contentWindow.document.forms")


def test_a_frame_listens_to_the_page_that_made_it_and_to_nobody_else(shop: Shop) -> None:
    shop.mount()
    shop.fill()
    shop.page.evaluate(
        """() => {
          const other = document.body.appendChild(document.createElement("iframe"));
          const name = JSON.parse(heard.find((said) => said.includes("hello"))).sandbox;
          window.named = name;
          const script = `parent.document.querySelector("#card iframe").contentWindow
            .postMessage({sandbox: "${name}", type: "clear"}, "*")`;
          other.contentWindow.eval(script);
        }"""
    )
    shop.page.wait_for_timeout(200)
    expect(shop.card.get_by_label("Card number")).to_have_value("4242 4242 4242 4242")
    shop.page.evaluate("card.clear()")
    expect(shop.card.get_by_label("Card number")).to_have_value("")


def test_a_decline_comes_back_as_an_error_with_the_intent(shop: Shop) -> None:
    shop.mount()
    shop.fill("4000000000009995")
    secret = shop.intent().client_secret
    error = shop.run(
        f"return (await stripe.confirmCardPayment('{secret}', {{payment_method: {{card}}}})).error"
    )
    assert (error["type"], error["code"]) == ("card_error", "card_declined")
    assert error["decline_code"] == "insufficient_funds"
    assert error["message"] == "Your card has insufficient funds."
    assert error["payment_intent"]["status"] == "requires_payment_method"


def test_the_payment_element_pays_and_stays_if_no_redirect_is_needed(shop: Shop) -> None:
    shop.mount("payment", "{}")
    shop.fill()
    shop.card.get_by_label("Postal code").fill("94107")
    intent = shop.intent(automatic_payment_methods={"enabled": True}, payment_method_types=None)
    script = (
        f"const elements = stripe.elements({{clientSecret: '{intent.client_secret}'}});"
        "return stripe.confirmPayment({elements: window.elements, clientSecret: "
        f"'{intent.client_secret}', redirect: 'if_required'}})"
    )
    assert shop.run(script)["paymentIntent"]["status"] == "succeeded"


def test_the_payment_element_leads_to_the_return_address(shop: Shop) -> None:
    shop.mount("payment", "{}")
    shop.fill()
    shop.card.get_by_label("Postal code").fill("94107")
    intent = shop.intent()
    shop.page.evaluate(
        f"""() => {{ stripe.confirmPayment({{elements, clientSecret: "{intent.client_secret}",
            confirmParams: {{return_url: location.origin + "/done?a=1"}}}}); }}"""
    )
    shop.page.wait_for_url(
        f"**/done?a=1&payment_intent={intent.id}&payment_intent_client_secret="
        f"{intent.client_secret}&redirect_status=succeeded"
    )


def test_the_bank_is_asked_by_hand_when_the_shop_wants_it_so(shop: Shop) -> None:
    shop.mount()
    shop.fill(BANK_ASKS)
    secret = shop.intent().client_secret
    result = shop.run(
        f"return stripe.confirmCardPayment('{secret}', {{payment_method: {{card}}}}, "
        "{handleActions: false})"
    )
    assert result["paymentIntent"]["status"] == "requires_action"
    shop.page.evaluate(
        f"() => {{ window.asked = stripe.handleNextAction({{clientSecret: '{secret}'}}); }}"
    )
    bank = shop.page.frame_locator("iframe[name=sandbox-bank]")
    # While the bank asks, nothing else on the page can be reached.
    assert shop.page.locator("#after").evaluate("(button) => button.closest('[inert]') !== null")
    bank.get_by_role("button", name="Confirm").click()
    assert shop.page.evaluate("asked")["paymentIntent"]["status"] == "succeeded"
    assert shop.page.locator("#after").evaluate("(button) => button.closest('[inert]') === null")


def test_a_refusal_at_the_bank_is_an_error(shop: Shop) -> None:
    shop.mount()
    shop.fill(BANK_ASKS)
    secret = shop.intent().client_secret
    shop.page.evaluate(
        f"""() => {{ window.paid = stripe.confirmCardPayment('{secret}',
            {{payment_method: {{card}}}}); }}"""
    )
    bank = shop.page.frame_locator("iframe[name=sandbox-bank]")
    bank.get_by_role("button", name="Refuse").click()
    error = shop.page.evaluate("paid")["error"]
    assert error["code"] == "payment_intent_authentication_failure"
    assert error["payment_intent"]["status"] == "requires_payment_method"


def test_an_intent_is_looked_up_by_its_secret(shop: Shop) -> None:
    intent = shop.intent()
    found = shop.run(f"return stripe.retrievePaymentIntent('{intent.client_secret}')")
    assert found["paymentIntent"]["id"] == intent.id
    wrong = shop.run(f"return stripe.retrievePaymentIntent('{intent.id}_secret_guessed')")
    assert wrong["error"]["code"] == "payment_intent_invalid_parameter"


def test_a_payment_method_is_made_of_the_card(shop: Shop) -> None:
    shop.mount()
    shop.fill()
    made = shop.run("return stripe.createPaymentMethod({type: 'card', card})")
    assert made["paymentMethod"]["card"]["last4"] == "4242"


def test_a_connection_that_breaks_is_told_as_such(shop: Shop) -> None:
    def cut(route: Route) -> None:
        route.abort()

    shop.mount()
    shop.fill()
    shop.page.route("**/confirm", cut)
    secret = shop.intent().client_secret
    result = shop.run(f"return stripe.confirmCardPayment('{secret}', {{payment_method: {{card}}}})")
    assert result["error"]["type"] == "api_connection_error"


@pytest.mark.parametrize(
    "script",
    [
        "Stripe('sk_test_bursar_tests')",
        "Stripe('')",
        "stripe.retrievePaymentIntent('pi_1')",
        "stripe.elements().create('iban')",
        "stripe.elements().create('card').mount('#nowhere')",
        "const both = stripe.elements(); both.create('card'); both.create('card')",
    ],
)
def test_a_mistake_of_the_shops_is_thrown_at_once(shop: Shop, script: str) -> None:
    name = shop.run(f"try {{ {script}; }} catch (error) {{ return error.name; }}")
    assert name == "IntegrationError"
