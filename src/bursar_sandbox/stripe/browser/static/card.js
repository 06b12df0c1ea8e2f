// Inside of a card element's frame: takes the card, checks it, and confirms the payment with it.
// What is typed goes to this origin's API and nowhere else; the page around hears only whether the
// fields are complete, of what brand the card is, and what came of a payment.
"use strict";

const told = JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}");
const form = document.forms[0];
const { number, expiry, cvc, postal } = form.elements;
const FIELDS = [number, expiry, cvc, postal];
const BRANDS = [
  [/^3[47]/, "amex"], [/^(6011|65|64[4-9])/, "discover"], [/^3[068]/, "diners"], [/^35/, "jcb"],
  [/^(62|81)/, "unionpay"], [/^4/, "visa"], [/^(5[1-5]|2[2-7])/, "mastercard"],
];
const STYLES = [
  "color", "fontFamily", "fontSize", "fontWeight", "fontStyle", "letterSpacing", "lineHeight",
];
let shown = "";

const digitsIn = (text) => text.replace(/\D/g, "");
const brandOf = (digits) => BRANDS.find(([start]) => start.test(digits))?.[1] ?? "unknown";
const lengthOf = (brand) => ({ amex: 15, diners: 14 })[brand] ?? 16;
const say = (message) => parent.postMessage({ ...message, sandbox: told.name }, told.parent);

function passesLuhn(digits) {
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const value = Number(digits[digits.length - 1 - i]) * (1 + (i % 2));
    sum += value > 9 ? value - 9 : value;
  }
  return sum % 10 === 0;
}

const fault = (code, message) => ({ type: "validation_error", code, message });

function numberFault(digits) {
  if (digits.length < lengthOf(brandOf(digits))) {
    return fault("incomplete_number", "Your card number is incomplete.");
  }
  return passesLuhn(digits) ? null : fault("invalid_number", "Your card number is invalid.");
}

function expiryFault(text) {
  const match = /^(\d\d) \/ (\d\d)$/.exec(text);
  if (!match) return fault("incomplete_expiry", "Your card's expiration date is incomplete.");
  const today = new Date();
  const [month, year] = [Number(match[1]), 2000 + Number(match[2])];
  if (year < today.getFullYear()) {
    return fault("invalid_expiry_year_past", "Your card's expiration year is in the past.");
  }
  if (year === today.getFullYear() && month < today.getMonth() + 1) {
    return fault("invalid_expiry_month_past", "Your card's expiration date is in the past.");
  }
  return null;
}

// What is wrong with each field, as it stands; null for one that is right.
function faults() {
  const digits = digitsIn(number.value);
  const code = digitsIn(cvc.value);
  const wanted = brandOf(digits) === "amex" ? 4 : 3;
  return new Map([
    [number, numberFault(digits)],
    [expiry, expiryFault(expiry.value)],
    [cvc, code.length === wanted
      ? null : fault("incomplete_cvc", "Your card's security code is incomplete.")],
    [postal, postal.parentElement.hidden || postal.value.trim().length > 2
      ? null : fault("incomplete_zip", "Your postal code is incomplete.")],
  ]);
}

// A field is called wrong once it was left, or is full and can't be right: not while it is typed.
function visibleFault(found) {
  for (const [field, one] of found) {
    const unfinished = one?.code.startsWith("incomplete");
    const wrong = one && field.value && (!unfinished || field.dataset.left);
    field.classList.toggle("wrong", Boolean(wrong));
    if (wrong) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
  const [, first] = [...found].find(([field]) => field.classList.contains("wrong")) ?? [];
  return first;
}

// How the fields stand, as the page around hears of it.
function state(forced) {
  const found = faults();
  return {
    brand: brandOf(digitsIn(number.value)),
    complete: [...found.values()].every((one) => one === null),
    empty: FIELDS.every((field) => !field.value),
    error: forced ?? visibleFault(found),
    value: { postalCode: postal.value.trim() },
  };
}

function changed(forced) {
  const event = state(forced);
  const now = JSON.stringify(event);
  if (now === shown) return;
  shown = now;
  say({ type: "event", name: "change", event });
}

function groupNumber() {
  const digits = digitsIn(number.value).slice(0, 19);
  const amex = brandOf(digits) === "amex";
  const parts = amex
    ? [digits.slice(0, 4), digits.slice(4, 10), digits.slice(10, 15)]
    : digits.match(/\d{1,4}/g) ?? [];
  keepCaret(number, parts.filter(Boolean).join(" "));
  if (digits.length === lengthOf(brandOf(digits)) && passesLuhn(digits) && atEnd(number)) {
    expiry.focus();
  }
}

function groupExpiry(event) {
  let digits = digitsIn(expiry.value).slice(0, 4);
  // Pasted or filled in with a year of four digits.
  const long = /^(\d\d?)\s*\/\s*20(\d\d)$/.exec(expiry.value.trim());
  if (long) digits = long[1].padStart(2, "0") + long[2];
  if (/^[2-9]/.test(digits)) digits = `0${digits}`.slice(0, 4);
  const erasing = event.inputType?.startsWith("delete");
  const gap = digits.length > 2 || (digits.length === 2 && !erasing);
  keepCaret(expiry, gap ? `${digits.slice(0, 2)} / ${digits.slice(2)}` : digits);
  if (digits.length === 4 && atEnd(expiry)) cvc.focus();
}

const atEnd = (field) => field.selectionStart === field.value.length;

function keepCaret(field, text) {
  if (field.value === text) return;
  const before = digitsIn(field.value.slice(0, field.selectionStart)).length;
  const last = field.selectionStart === field.value.length;
  field.value = text;
  let place = 0;
  for (let seen = 0; place < text.length && seen < before; place += 1) {
    if (/\d/.test(text[place])) seen += 1;
  }
  if (document.activeElement === field) {
    const caret = last ? text.length : place;
    field.setSelectionRange(caret, caret);
  }
}

function dress({ style = {}, hidePostalCode, disabled, appearance }) {
  const base = style.base ?? {};
  const variables = appearance?.variables ?? {};
  for (const name of STYLES) {
    if (typeof base[name] === "string") document.body.style[name] = base[name];
  }
  const placeholder = base["::placeholder"]?.color ?? variables.colorTextPlaceholder;
  const wrong = style.invalid?.color ?? variables.colorDanger;
  if (placeholder) document.body.style.setProperty("--placeholder", placeholder);
  if (wrong) document.body.style.setProperty("--wrong", wrong);
  if (variables.colorText) document.body.style.color = variables.colorText;
  if (variables.fontFamily) document.body.style.fontFamily = variables.fontFamily;
  postal.parentElement.hidden = Boolean(hidePostalCode);
  for (const field of FIELDS) field.disabled = Boolean(disabled);
}

function encode(fields, into = new URLSearchParams(), path = "") {
  for (const [name, value] of Object.entries(fields)) {
    const place = path ? `${path}[${name}]` : name;
    if (value === undefined || value === null) continue;
    if (typeof value === "object") encode(value, into, place);
    else into.append(place, String(value));
  }
  return into;
}

function method(details = {}) {
  const [month, year] = expiry.value.split(" / ");
  const billing = { ...details };
  if (!postal.parentElement.hidden) {
    billing.address = { postal_code: postal.value.trim(), ...billing.address };
  }
  const card = {
    number: digitsIn(number.value), exp_month: Number(month), exp_year: 2000 + Number(year),
    cvc: digitsIn(cvc.value),
  };
  return { type: "card", card, billing_details: billing };
}

async function send({ key, path, fields }) {
  try {
    const answer = await fetch(`/v1/${path}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}` },
      body: encode(fields),
      credentials: "omit",
    });
    return await answer.json();
  } catch {
    const message = "An error occurred with our connection to the sandbox.";
    return { error: { type: "api_connection_error", message } };
  }
}

const ACTS = {
  check: async () => ({}),
  confirm: ({ key, path, fields, billing_details }) =>
    send({ key, path, fields: { ...fields, payment_method_data: method(billing_details) } }),
  method: ({ key, path, fields, billing_details }) =>
    send({ key, path, fields: { ...fields, ...method(billing_details) } }),
};

async function answer({ number: asked, what, data }) {
  for (const field of FIELDS) field.dataset.left = "yes";
  const [field, error] = [...faults()].find(([, one]) => one) ?? [];
  changed(error);
  if (error) {
    field.focus();
    return say({ type: "answer", number: asked, result: { error } });
  }
  return say({ type: "answer", number: asked, result: await ACTS[what](data) });
}

function hear(event) {
  if (event.source !== parent || event.origin !== told.parent) return;
  const said = event.data;
  if (said?.sandbox !== told.name) return;
  if (said.type === "options") {
    dress(said.options);
    measure();
    if (!shown) {
      shown = JSON.stringify(state());
      say({ type: "event", name: "ready", event: {} });
    }
  } else if (said.type === "ask" && said.what in ACTS) answer(said);
  else if (said.type === "focus") number.focus();
  else if (said.type === "blur") document.activeElement?.blur();
  else if (said.type === "clear") {
    for (const field of FIELDS) { field.value = ""; delete field.dataset.left; }
    changed();
  }
}

const measure = () => say({ type: "height", height: Math.ceil(form.getBoundingClientRect().height) });

// Opened by itself, outside of a shop's page, the frame has nobody to pay.
if (parent !== window && told.name) {
  document.body.classList.toggle("stacked", told.kind === "payment");
  number.addEventListener("input", groupNumber);
  expiry.addEventListener("input", groupExpiry);
  cvc.addEventListener("input", () => keepCaret(cvc, digitsIn(cvc.value).slice(0, 4)));
  form.addEventListener("input", () => changed());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("focusin", () => say({ type: "event", name: "focus", event: {} }));
  form.addEventListener("focusout", (event) => {
    event.target.dataset.left = "yes";
    changed();
    if (!form.contains(event.relatedTarget)) say({ type: "event", name: "blur", event: {} });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") say({ type: "event", name: "escape", event: {} });
  });
  new ResizeObserver(measure).observe(form);
  window.addEventListener("message", hear);
  say({ type: "hello" });
}
