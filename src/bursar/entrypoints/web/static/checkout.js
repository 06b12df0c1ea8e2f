// The card form: the provider's element in it, the order begun when Pay is pressed, the payment
// confirmed by the provider's library. No part of a card passes through here: it is typed into the
// provider's frame, and this script hears only whether it is complete and what came of it.
"use strict";

const DONE = ["succeeded", "processing", "requires_capture"];
let library;

function loadLibrary(url) {
  library ??= new Promise((done, failed) => {
    if (window.Stripe) return done();
    const script = document.createElement("script");
    script.src = url;
    script.addEventListener("load", () => done());
    script.addEventListener("error", () => { library = undefined; script.remove(); failed(); });
    return document.head.append(script);
  });
  return library;
}

class CardForm {
  constructor(form) {
    this.form = form;
    this.root = form.closest(".checkout");
    this.words = JSON.parse(form.dataset.words);
    this.button = form.querySelector("[type=submit]");
    this.idle = this.button.textContent;
    this.problem = this.root.querySelector("[data-problem]");
    this.title = document.title;
    this.paying = false;
    this.order = null;
    this.complete = false;
    this.cardError = null;
    form.hidden = false;
    form.addEventListener("submit", (event) => { event.preventDefault(); this.pay(); });
    for (const input of form.querySelectorAll("[data-detail]")) {
      input.addEventListener("input", () => {
        if (input.getAttribute("aria-invalid") && !this.fault(input)) this.say(input, "");
      });
    }
    this.ready = this.mount();
  }

  async mount() {
    try {
      await loadLibrary(this.form.dataset.library);
      this.stripe = window.Stripe(this.form.dataset.key);
    } catch {
      this.form.hidden = true;
      this.show(this.words.library);
      return;
    }
    const place = this.form.querySelector(".element");
    const options = () => ({ hidePostalCode: true, style: this.style(place) });
    this.card = this.stripe.elements().create("card", options());
    this.card.on("change", ({ complete, error }) => {
      this.complete = complete;
      this.cardError = error;
      this.say(place, error ? this.cardFault(error) : "");
    });
    this.card.on("escape", () => this.root.dispatchEvent(new Event("escape", { bubbles: true })));
    this.card.mount(place);
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.card.update({ style: options().style }));
  }

  // The element's text looks like our own fields': its frame can't see our style.
  style(place) {
    const look = getComputedStyle(place);
    const color = (selector) => getComputedStyle(this.form.querySelector(selector)).color;
    return {
      base: {
        color: look.color, fontFamily: look.fontFamily, fontSize: "16px",
        "::placeholder": { color: color(".hint") },
      },
      invalid: { color: color(".fault") },
    };
  }

  cardFault(error) { return this.words.faults[error.code] ?? this.words.card; }

  // A card that is not whole begins no order: its frame says so before the provider is asked.
  unfinished() {
    if (this.complete) return "";
    return this.cardError ? this.cardFault(this.cardError) : this.words.card;
  }

  fault(input) {
    const text = input.value.trim();
    const right = input.type === "email" ? /^[^@\s]+@[^@\s]+\.[^@\s.]+$/.test(text) : text !== "";
    return right ? "" : this.words.faults[input.dataset.detail];
  }

  // The message above a field; an empty one takes it away.
  say(field, message) {
    const line = document.getElementById(`${field.id}-fault`);
    line.querySelector("span").textContent = message;
    line.hidden = !message;
    field.classList.toggle("wrong", Boolean(message));
    if (field.matches(".element")) return;
    if (message) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }

  show(message, links = []) {
    const words = this.problem.querySelector("[data-problem-words]");
    words.replaceChildren(message);
    for (const [text, field] of links) {
      const link = document.createElement("a");
      link.href = `#${field.id}`;
      link.className = "target";
      link.textContent = text;
      link.addEventListener("click", (event) => {
        event.preventDefault();
        if (field.matches(".element")) this.card.focus();
        else field.focus();
      });
      const line = document.createElement("span");
      line.className = "line";
      line.append(link);
      words.append(line);
    }
    this.problem.hidden = false;
    this.problem.focus();
    document.title = `Error: ${this.title}`;
  }

  clear() {
    this.problem.hidden = true;
    document.title = this.title;
  }

  busy(paying) {
    this.paying = paying;
    this.button.textContent = paying ? this.button.dataset.busy : this.idle;
    if (paying) this.button.setAttribute("aria-disabled", "true");
    else this.button.removeAttribute("aria-disabled");
  }

  async pay() {
    if (this.paying || !this.card) return;
    this.clear();
    const wrong = [];
    for (const field of this.form.querySelectorAll("[data-detail], .element")) {
      const fault = field.matches(".element") ? this.unfinished() : this.fault(field);
      this.say(field, fault);
      if (fault) wrong.push([fault, field]);
    }
    if (wrong.length) {
      this.show("", wrong);
      return;
    }
    this.busy(true);
    let leaving = false;
    try {
      leaving = await this.confirm();
    } catch {
      this.show(this.words.unknown);
    } finally {
      if (!leaving) this.busy(false);
    }
  }

  // Whether the payment is made and the page is being left.
  async confirm() {
    if (!(await this.begin())) return false;
    const details = {};
    for (const input of this.form.querySelectorAll("[data-detail]")) {
      details[input.dataset.detail] = input.value.trim();
    }
    const data = { payment_method: { card: this.card, billing_details: details } };
    if ("receipts" in this.form.dataset) data.receipt_email = details.email;
    const { paymentIntent, error } = await this.stripe.confirmCardPayment(
      this.order.client_secret, data,
    );
    const intent = paymentIntent ?? error.payment_intent;
    if (intent && DONE.includes(intent.status)) return this.leave();
    if (!error) {
      this.show(this.words.unknown);
      return false;
    }
    return this.refused(error);
  }

  async refused(error) {
    const place = this.form.querySelector(".element");
    const { words } = this;
    if (error.type === "validation_error") {
      const fault = this.cardFault(error);
      this.say(place, fault);
      this.show("", [[fault, place]]);
    } else if (error.payment_intent?.status === "canceled") {
      this.show(words.over);
    } else if (error.type === "card_error" || error.payment_intent?.last_payment_error) {
      const reason = words.declines[error.decline_code] ?? words.declines[error.code];
      this.show(reason ?? words.declined);
    } else {
      return this.lookAgain();
    }
    return false;
  }

  // The answer was lost, or made no sense: what became of the payment is asked before all else.
  async lookAgain() {
    const { paymentIntent } = await this.stripe.retrievePaymentIntent(this.order.client_secret);
    if (paymentIntent && DONE.includes(paymentIntent.status)) return this.leave();
    const waits = paymentIntent?.status === "requires_payment_method";
    this.show(waits ? this.words.unreachable : this.words.unknown);
    return false;
  }

  leave() {
    location.assign(this.order.next);
    return true;
  }

  // Have the server open the payment, once for this form: another card pays the same one.
  async begin() {
    if (this.order) return true;
    let answer;
    let said;
    try {
      answer = await fetch(this.form.action, {
        method: "POST",
        headers: { accept: "application/json" },
        body: new URLSearchParams(new FormData(this.form)),
      });
      said = await answer.json();
    } catch {
      this.show(this.words.failed);
      return false;
    }
    if (answer.ok) {
      this.order = said;
      return true;
    }
    if (said.sign_in) {
      const next = location.pathname + location.search;
      location.assign(`${said.sign_in}?${new URLSearchParams({ next })}`);
    } else if (said.retry_after_seconds) {
      const at = new Date(Date.now() + said.retry_after_seconds * 1000 + 60000);
      const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      this.show(`${said.heading}. You were not charged. Try again at ${time}.`);
    } else {
      this.show([`${said.heading}.`, said.detail, said.sentence].filter(Boolean).join(" "));
    }
    return false;
  }
}

// The modal is no top-layer dialog: a provider's library puts the bank's frame over the page, and
// nothing can stand above the top layer. So what is around it is made inert by hand.
class Modal {
  constructor(link) {
    this.link = link;
    this.dialog = document.createElement("dialog");
    this.dialog.className = "modal";
    this.dialog.setAttribute("aria-modal", "true");
    this.dialog.setAttribute("aria-label", "Pay by card");
    this.veil = document.createElement("div");
    this.veil.className = "veil";
    this.pressed = (event) => { if (event.key === "Escape") { event.preventDefault(); this.close(); } };
  }

  async open() {
    const bar = document.createElement("div");
    const close = document.createElement("button");
    bar.className = "bar";
    close.type = "button";
    close.className = "button close";
    close.textContent = "×";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => this.close());
    bar.append(close);
    const waiting = document.createElement("p");
    waiting.className = "loading muted";
    waiting.textContent = "Loading the card form…";
    this.dialog.append(bar, waiting);
    this.others = [...document.body.children].filter((one) => !one.inert);
    for (const one of this.others) one.inert = true;
    document.body.append(this.veil, this.dialog);
    document.documentElement.classList.add("held");
    document.addEventListener("keydown", this.pressed);
    this.dialog.addEventListener("escape", () => this.close());
    this.dialog.show();
    close.focus();
    await this.fill(waiting);
  }

  async fill(waiting) {
    const address = new URL(this.link.href);
    address.pathname = address.pathname.replace(/\/checkout$/, "/checkout/form");
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = fresh.querySelector(".checkout");
      // Signed out meanwhile, say, or already paid: the page itself knows what to show.
      if (!answer.ok || !found) throw new Error("no form");
      if (!this.dialog.isConnected) return;
      waiting.replaceWith(found);
      this.form = new CardForm(found.querySelector("[data-card-form]"));
      found.querySelector("h1").focus();
    } catch {
      location.assign(this.link.href);
    }
  }

  close() {
    if (this.form?.paying) return;
    document.removeEventListener("keydown", this.pressed);
    this.form?.clear();
    this.dialog.remove();
    this.veil.remove();
    for (const one of this.others) one.inert = false;
    document.documentElement.classList.remove("held");
    this.link.focus();
  }
}

for (const form of document.querySelectorAll("[data-card-form]")) new CardForm(form);
for (const link of document.querySelectorAll("a[data-card-modal]")) {
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    new Modal(link).open();
  });
}
