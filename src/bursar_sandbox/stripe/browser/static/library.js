// The sandbox's stand-in for the provider's browser library: elements in frames of the sandbox's
// origin, payments confirmed from inside of them, the bank's question in a frame above the page.
// The card's number is typed in the frame and leaves it for the sandbox alone; this script, which
// runs in the shop's page, never sees it.
(() => {
  "use strict";
  if (window.Stripe) return;

  const ORIGIN = new URL(document.currentScript.src).origin;
  const SECRET = /^(pi_[A-Za-z0-9]+)_secret_[A-Za-z0-9]+$/;
  const KINDS = ["card", "payment"];
  const TOP = "2147483647";
  let made = 0;

  function integrationError(message) {
    const error = new Error(message);
    error.name = "IntegrationError";
    return error;
  }

  function intentOf(secret) {
    const found = SECRET.exec(typeof secret === "string" ? secret : "");
    if (found) return found[1];
    throw integrationError(
      "Invalid value for intent secret: value should be a client secret of the form ${id}_secret_${secret}.",
    );
  }

  // a: {b: 1} as a[b]=1, the way the API reads forms.
  function encode(fields, form = new URLSearchParams(), path = "") {
    for (const [name, value] of Object.entries(fields)) {
      const place = path ? `${path}[${name}]` : name;
      if (value === undefined || value === null) continue;
      if (typeof value === "object") encode(value, form, place);
      else form.append(place, String(value));
    }
    return form;
  }

  async function call(key, method, path, fields) {
    const form = encode(fields);
    const post = method === "POST";
    const address = `${ORIGIN}/v1/${path}${post ? "" : `?${form}`}`;
    try {
      const answer = await fetch(address, {
        method,
        headers: { Authorization: `Bearer ${key}` },
        body: post ? form : undefined,
        credentials: "omit",
      });
      return await answer.json();
    } catch {
      const message = "An error occurred with our connection to the sandbox.";
      return { error: { type: "api_connection_error", message } };
    }
  }

  const retrieve = (key, secret) =>
    call(key, "GET", `payment_intents/${intentOf(secret)}`, { client_secret: secret });

  class Element {
    #kind;
    #options;
    #owner;
    #frame = null;
    #place = null;
    #name = `element-${++made}`;
    #handlers = new Map();
    #asked = new Map();
    #count = 0;
    #listener = (event) => this.#hear(event);

    constructor(kind, options, owner) {
      this.#kind = kind;
      this.#options = { ...options };
      this.#owner = owner;
    }

    mount(target) {
      const place = typeof target === "string" ? document.querySelector(target) : target;
      if (!(place instanceof HTMLElement)) {
        throw integrationError(
          `The selector you specified (${target}) applies to no DOM elements that are currently on the page.`,
        );
      }
      this.unmount();
      this.#place = place;
      this.#mark({ empty: true });
      const frame = document.createElement("iframe");
      const hash = JSON.stringify({ name: this.#name, parent: location.origin, kind: this.#kind });
      frame.src = `${ORIGIN}/v3/card#${encodeURIComponent(hash)}`;
      frame.title = "Secure card payment input frame";
      frame.name = `sandbox-${this.#name}`;
      Object.assign(frame.style, {
        display: "block", inlineSize: "100%", blockSize: "1.5em", border: "0", margin: "0",
        padding: "0", background: "transparent", colorScheme: "light only",
      });
      window.addEventListener("message", this.#listener);
      this.#frame = frame;
      place.replaceChildren(frame);
    }

    unmount() {
      window.removeEventListener("message", this.#listener);
      this.#frame?.remove();
      this.#frame = this.#place = null;
    }

    destroy() { this.unmount(); this.#handlers.clear(); this.#owner.forget(this); }

    on(name, handler) {
      this.#handlers.set(name, [...(this.#handlers.get(name) ?? []), handler]);
      return this;
    }

    once(name, handler) {
      const first = (event) => { this.off(name, first); handler(event); };
      return this.on(name, first);
    }

    off(name, handler) {
      const kept = (this.#handlers.get(name) ?? []).filter((one) => handler && one !== handler);
      this.#handlers.set(name, kept);
      return this;
    }

    update(options) {
      Object.assign(this.#options, options);
      this.#say({ type: "options", options: this.#told() });
    }

    focus() { this.#frame?.focus(); this.#say({ type: "focus" }); }
    blur() { this.#say({ type: "blur" }); }
    clear() { this.#say({ type: "clear" }); }

    // Have the frame do something with the card; it answers with what came of it.
    ask(what, data) {
      if (!this.#frame) {
        throw integrationError("We could not retrieve data from the specified Element. Please make sure the Element you are attempting to use is still mounted.");
      }
      const number = ++this.#count;
      const answer = new Promise((done) => { this.#asked.set(number, done); });
      this.#say({ type: "ask", number, what, data });
      return answer;
    }

    #told() {
      const { style, hidePostalCode, disabled } = this.#options;
      const appearance = this.#owner.appearance;
      return JSON.parse(JSON.stringify({ style, hidePostalCode, disabled, appearance }));
    }

    #say(message) {
      this.#frame?.contentWindow?.postMessage({ ...message, sandbox: this.#name }, ORIGIN);
    }

    #hear(event) {
      const said = event.data;
      if (event.origin !== ORIGIN || event.source !== this.#frame?.contentWindow) return;
      if (said?.sandbox !== this.#name) return;
      if (said.type === "hello") this.#say({ type: "options", options: this.#told() });
      else if (said.type === "height") this.#frame.style.blockSize = `${Number(said.height)}px`;
      else if (said.type === "answer") {
        this.#asked.get(said.number)?.(said.result);
        this.#asked.delete(said.number);
      } else if (said.type === "event") {
        if (said.name === "change") this.#mark(said.event);
        if (said.name === "focus" || said.name === "blur") {
          this.#place.classList.toggle("StripeElement--focus", said.name === "focus");
        }
        for (const handler of this.#handlers.get(said.name) ?? []) {
          handler({ elementType: this.#kind, ...said.event });
        }
      }
    }

    #mark({ empty, complete, error }) {
      const names = { "": true, "--empty": empty, "--complete": complete, "--invalid": error };
      for (const [name, set] of Object.entries(names)) {
        this.#place.classList.toggle(`StripeElement${name}`, Boolean(set));
      }
    }
  }

  class Elements {
    #made = new Map();

    constructor(options) {
      this.clientSecret = options?.clientSecret;
      this.appearance = options?.appearance;
    }

    create(kind, options) {
      if (!KINDS.includes(kind)) {
        throw integrationError(`The sandbox plays the elements ${KINDS.join(" and ")}, not ${kind}.`);
      }
      if (this.#made.has(kind)) {
        throw integrationError(`Can only create one Element of type ${kind} through one Elements instance.`);
      }
      const element = new Element(kind, options, this);
      this.#made.set(kind, element);
      return element;
    }

    getElement(kind) { return this.#made.get(kind) ?? null; }

    async submit() {
      const element = this.getElement("payment");
      return element ? element.ask("check", {}) : {};
    }

    update(options) { this.appearance = options?.appearance ?? this.appearance; }

    forget(element) {
      for (const [kind, one] of this.#made) if (one === element) this.#made.delete(kind);
    }
  }

  // The bank's page in a frame above everything. Resolves when the bank has an answer.
  function atBank(url) {
    const asked = new URL(url);
    asked.searchParams.set("frame", "1");
    const before = document.activeElement;
    const others = [...document.body.children].filter((one) => !one.inert);
    const box = build("div", {
      position: "fixed", inset: "0", zIndex: TOP, display: "grid", placeItems: "center",
      background: "rgb(0 0 0 / .5)",
    });
    const narrow = window.innerWidth <= 480;
    const panel = build("div", {
      position: "relative", display: "grid", gridTemplateRows: "auto 1fr", overflow: "hidden",
      inlineSize: narrow ? "100%" : "min(500px, 100%)",
      blockSize: narrow ? "100%" : "min(440px, 100%)", borderRadius: narrow ? "0" : "12px",
      background: "Canvas", color: "CanvasText", font: "400 1rem/1.5 system-ui, sans-serif",
    });
    panel.setAttribute("role", "dialog");
    panel.setAttribute("aria-modal", "true");
    panel.setAttribute("aria-label", "Confirm with your bank");
    const bar = build("div", {
      display: "flex", flexWrap: "wrap", justifyContent: "space-between", alignItems: "center",
      gap: "4px 12px", padding: "8px 8px 8px 16px", minBlockSize: "48px",
      borderBlockEnd: "1px solid GrayText",
    });
    const words = build("strong", { fontWeight: "650" }, "Confirm with your bank");
    const acts = build("span", { display: "flex", gap: "8px" });
    const frame = build("iframe", { inlineSize: "100%", blockSize: "100%", border: "0" });
    frame.src = asked.href;
    frame.title = "Your bank's page";
    frame.name = "sandbox-bank";
    bar.append(words, acts);
    panel.append(bar, frame);
    box.append(panel);
    for (const one of others) one.inert = true;
    document.body.append(box);
    frame.focus();

    const button = (text, act) => {
      const made = build("button", {
        font: "inherit", padding: "6px 12px", minBlockSize: "36px", borderRadius: "8px",
        border: "1px solid GrayText", background: "ButtonFace", color: "ButtonText",
        cursor: "pointer",
      }, text);
      made.type = "button";
      made.addEventListener("click", act);
      return made;
    };
    const idle = () => {
      words.textContent = "Confirm with your bank";
      acts.replaceChildren(button("Cancel", doubt));
    };
    const stop = () =>
      frame.contentWindow.postMessage({ sandbox: "bank", type: "stop" }, asked.origin);
    function doubt() {
      words.textContent = "Stop this payment?";
      const go = button("Go on", () => { idle(); frame.focus(); });
      acts.replaceChildren(button("Stop", stop), go);
      go.focus();
    }
    idle();

    return new Promise((done) => {
      const pressed = (event) => { if (event.key === "Escape") { event.preventDefault(); doubt(); } };
      const heard = (event) => {
        const said = event.data;
        if (event.origin !== asked.origin || event.source !== frame.contentWindow) return;
        if (said?.sandbox !== "bank") return;
        if (said.type === "escape") doubt();
        if (said.type !== "answered") return;
        window.removeEventListener("message", heard);
        document.removeEventListener("keydown", pressed, true);
        box.remove();
        for (const one of others) one.inert = false;
        before?.focus?.();
        done();
      };
      window.addEventListener("message", heard);
      document.addEventListener("keydown", pressed, true);
    });
  }

  function build(name, style, text = "") {
    const made = document.createElement(name);
    Object.assign(made.style, style);
    made.textContent = text;
    return made;
  }

  const WAITS = new Set(["requires_action", "requires_source_action"]);

  class Client {
    #key;

    constructor(key) {
      if (typeof key !== "string" || !/^pk_test_\w+/.test(key)) {
        throw integrationError("Please call Stripe() with your publishable key. You used an empty string or a key of another kind.");
      }
      this.#key = key;
    }

    elements(options) { return new Elements(options); }

    retrievePaymentIntent(secret) { return retrieve(this.#key, secret).then(asResult); }

    async confirmCardPayment(secret, data = {}, options = {}) {
      const { payment_method: method, ...rest } = data;
      const { card, billing_details } = typeof method === "object" && method ? method : {};
      const fields = { client_secret: secret, use_stripe_sdk: true, ...rest };
      const path = `payment_intents/${intentOf(secret)}/confirm`;
      let answer;
      if (card instanceof Element) {
        answer = await card.ask("confirm", { key: this.#key, path, fields, billing_details });
      } else {
        if (card?.token) fields.payment_method_data = { type: "card", card, billing_details };
        else if (typeof method === "string") fields.payment_method = method;
        answer = await call(this.#key, "POST", path, fields);
      }
      if (options.handleActions === false) return asResult(answer);
      return this.#act(secret, answer);
    }

    async confirmPayment({ elements, clientSecret, confirmParams = {}, redirect = "always" }) {
      const secret = clientSecret ?? elements?.clientSecret;
      const { return_url, payment_method_data = {}, ...rest } = confirmParams;
      if (redirect !== "if_required" && !return_url) {
        throw integrationError("stripe.confirmPayment(): the `confirmParams.return_url` argument is required unless passing redirect: 'if_required'.");
      }
      const element = elements?.getElement("payment") ?? elements?.getElement("card");
      const result = await this.confirmCardPayment(secret, {
        ...rest, payment_method: { card: element, billing_details: payment_method_data.billing_details },
      });
      if (result.error || redirect === "if_required") return result;
      const back = new URL(return_url, location.href);
      back.searchParams.set("payment_intent", result.paymentIntent.id);
      back.searchParams.set("payment_intent_client_secret", secret);
      back.searchParams.set("redirect_status", "succeeded");
      location.assign(back.href);
      return new Promise(() => {});
    }

    async createPaymentMethod({ type, card, elements, billing_details, metadata }) {
      const element = card instanceof Element ? card : elements?.getElement("payment");
      if (!element) throw integrationError(`No element to read a payment method of type ${type} from.`);
      const data = { key: this.#key, path: "payment_methods", fields: { metadata }, billing_details };
      const answer = await element.ask("method", data);
      return answer.error ? { error: answer.error } : { paymentMethod: answer };
    }

    handleCardAction(secret) { return this.handleNextAction({ clientSecret: secret }); }

    async handleNextAction({ clientSecret }) {
      return this.#act(clientSecret, await retrieve(this.#key, clientSecret));
    }

    async #act(secret, answer) {
      if (answer.error || !WAITS.has(answer.status)) return asResult(answer);
      const action = answer.next_action;
      const url = action.use_stripe_sdk?.stripe_js ?? action.redirect_to_url?.url;
      await atBank(url);
      const after = await retrieve(this.#key, secret);
      if (after.status === "requires_payment_method" && after.last_payment_error) {
        return { error: { ...after.last_payment_error, payment_intent: after } };
      }
      return asResult(after);
    }
  }

  function asResult(answer) {
    return answer.error ? { error: answer.error } : { paymentIntent: answer };
  }

  window.Stripe = Object.assign((key) => new Client(key), { version: 3 });
})();
