// Improves the payment form while it is filled in. The form works without this file: every rule
// here is checked again by the server.

const form = document.getElementById("pay");
const field = (name) => form.elements.namedItem(name);
const number = field("card_number");
const expiry = field("expiry");
const brandMark = form.querySelector(".brand");
const codeHint = document.getElementById("security_code-hint");
const payButton = form.querySelector("button[type=submit]");
const payWords = [...payButton.childNodes];
let paying = false;
let pressed = false;

const digitsIn = (text) => text.replace(/\D/g, "");
const isAmex = (digits) => /^3[47]/.test(digits);

const BRANDS = [
  ["Visa", /^4/],
  ["Mastercard", /^(5[1-5]|2[2-7])/],
  ["Amex", /^3[47]/],
  ["Discover", /^(6011|64[4-9]|65)/],
  ["Diners", /^3(0|6|8|9)/],
  ["JCB", /^35/],
  ["UnionPay", /^62/],
];

function fullLength(digits) {
  if (isAmex(digits)) return 15;
  return /^3[0689]/.test(digits) ? 14 : 16;
}

function grouped(digits) {
  const sizes = isAmex(digits) ? [4, 6, 5] : [4, 4, 4, 4, 3];
  const groups = [];
  let from = 0;
  for (const size of sizes) {
    if (from < digits.length) groups.push(digits.slice(from, from + size));
    from += size;
  }
  return groups.join(" ");
}

function passesLuhn(digits) {
  let total = 0;
  [...digits].reverse().forEach((digit, place) => {
    const value = Number(digit) * (place % 2 ? 2 : 1);
    total += value > 9 ? value - 9 : value;
  });
  return total % 10 === 0;
}

// Writes the groups and puts the caret back behind the digit it stood behind.
function groupNumber() {
  const before = digitsIn(number.value.slice(0, number.selectionStart)).length;
  const digits = digitsIn(number.value).slice(0, 19);
  const text = grouped(digits);
  if (text !== number.value) {
    number.value = text;
    let caret = 0;
    for (let seen = 0; seen < Math.min(before, digits.length); caret += 1) {
      if (text[caret] !== " ") seen += 1;
    }
    if (document.activeElement === number) number.setSelectionRange(caret, caret);
  }
  showBrand(digits);
}

function showBrand(digits) {
  const brand = BRANDS.find(([, prefix]) => prefix.test(digits));
  brandMark.textContent = brand ? brand[0] : "";
  codeHint.textContent = isAmex(digits) ? "4 digits on the front" : "3 digits on the back";
}

// Deleting is left alone, or the slash that was just taken away would come back at once.
function groupExpiry(event) {
  const deleting = (event.inputType || "").startsWith("delete");
  if (deleting || expiry.selectionStart !== expiry.value.length) return;
  let text = expiry.value.trim().replace(/^(\d)\s*[/.-]/, "0$1/");
  if (/^[2-9]$/.test(text)) text = `0${text}`;
  let digits = digitsIn(text).slice(0, 6);
  if (/^\d\d20\d\d$/.test(digits)) digits = digits.slice(0, 2) + digits.slice(4);
  if (digits.length < 2) return;
  expiry.value = `${digits.slice(0, 2)} / ${digits.slice(2)}`;
}

// What is wrong with a card field that is full; an empty text for one that is right or unfinished.
const CHECKS = {
  card_number: () => {
    const digits = digitsIn(number.value);
    if (digits.length < fullLength(digits) || passesLuhn(digits)) return "";
    return "The card number is not right. Check it against your card";
  },
  expiry: () => {
    const match = /^(\d\d)\s*\/\s*(?:20)?(\d\d)$/.exec(expiry.value.trim());
    if (!match) return "";
    const month = Number(match[1]);
    if (month < 1 || month > 12) return "The month is 01 to 12. Check the card";
    const today = new Date(Number(form.dataset.today) * 1000);
    const months = (2000 + Number(match[2])) * 12 + month - 1;
    const now = today.getUTCFullYear() * 12 + today.getUTCMonth();
    return months < now ? "Expiry date is in the past. Check the card" : "";
  },
};

function showProblem(input, message) {
  const line = document.getElementById(`${input.name}-problem`);
  line.querySelector("span").textContent = message;
  line.hidden = !message;
  if (message) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

function mended(event) {
  const input = event.target;
  if (input.getAttribute("aria-invalid") !== "true" || !input.value) return;
  const check = CHECKS[input.name];
  if (!check || !check()) showProblem(input, "");
}

function checkField(input) {
  const check = CHECKS[input.name];
  const message = check ? check() : "";
  if (message) showProblem(input, message);
}

// A message moves the page. While a button is being pressed that would pull it from under the
// pointer and lose the click, so the check waits until the press is over.
function leftField(event) {
  const input = event.target;
  if (!pressed) {
    checkField(input);
    return;
  }
  const later = () => setTimeout(checkField, 0, input);
  document.addEventListener("pointerup", later, { once: true });
}

function startPaying(event) {
  if (paying) {
    event.preventDefault();
    return;
  }
  paying = true;
  payButton.setAttribute("aria-disabled", "true");
  payButton.textContent = payButton.dataset.busy || "Paying…";
}

// A page that comes back out of the browser's memory may show a payment that is long decided.
function cameBack(event) {
  if (!event.persisted) return;
  const asked = paying;
  paying = false;
  payButton.removeAttribute("aria-disabled");
  payButton.replaceChildren(...payWords);
  if (asked) window.location.replace(form.action);
}

function fill(button) {
  const emptyOnly = button.form.dataset;
  for (const name of Object.keys(emptyOnly)) {
    if (!field(name).value) field(name).value = emptyOnly[name];
  }
  for (const [name, value] of Object.entries(button.dataset)) field(name).value = value;
  if (number) showBrand(digitsIn(number.value));
  for (const input of form.querySelectorAll("[aria-invalid=true]")) showProblem(input, "");
  payButton.focus();
}

function improveCard() {
  number.addEventListener("input", groupNumber);
  expiry.addEventListener("input", groupExpiry);
  showBrand(digitsIn(number.value));
}

function improveDrawer(drawer) {
  drawer.addEventListener("submit", (event) => {
    if (!event.submitter) return;
    event.preventDefault();
    fill(event.submitter);
  });
}

// A code or a quantity makes a new page of the order: what is typed already goes along and comes back.
function keepTyped(event) {
  for (const [name, value] of new FormData(form)) {
    if (!event.formData.has(name)) event.formData.append(name, value);
  }
}

// The tax is another country's now, so the order is reckoned anew before anybody pays it.
function reprice() {
  const act = document.createElement("input");
  act.type = "hidden";
  act.name = "act";
  act.value = "update";
  form.append(act);
  form.submit();
}

form.addEventListener("input", mended);
form.addEventListener("focusout", leftField);
form.addEventListener("submit", startPaying);
document.addEventListener("pointerdown", () => { pressed = true; });
for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, () => { pressed = false; });
}
window.addEventListener("pageshow", cameBack);
const drawer = document.querySelector(".cards");
if ("located" in form.dataset) field("country").addEventListener("change", reprice);
for (const other of document.querySelectorAll("form.code, form.quantity")) {
  other.addEventListener("formdata", keepTyped);
}
if (drawer) improveDrawer(drawer);
// An order that costs nothing has no card fields, and one for a bank debit alone neither.
if (number) improveCard();
