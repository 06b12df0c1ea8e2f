// What makes the pages nicer when scripts run: copying, guarding against a second press, watching
// a payment. Everything works without it; nothing here decides anything.
"use strict";

for (const button of document.querySelectorAll("button[data-copy]")) {
  const idle = [...button.childNodes];
  const said = document.createElement("span");
  said.className = "vh";
  said.setAttribute("role", "status");
  button.after(said);
  button.hidden = false;
  let timer;
  button.addEventListener("click", async () => {
    let word = "Copied";
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      word = "Not copied: select it";
    }
    button.textContent = said.textContent = word;
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.replaceChildren(...idle);
      said.textContent = "";
    }, 2000);
  });
}

// The button keeps its focus, so it says that it is busy instead of being disabled.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = event.submitter;
    if (button && button.dataset.busy) {
      button.dataset.idle = button.textContent;
      button.textContent = button.dataset.busy;
      button.setAttribute("aria-disabled", "true");
    }
  });
}

// A page out of the browser's memory carries old keys and an old state: ask for it again.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

const place = document.querySelector("[data-watch]");
if (place) watch(place, Date.now());

async function watch(place, began) {
  const waited = () => Math.floor((Date.now() - began) / 1000);
  while (place.querySelector("[data-waiting]")) {
    await new Promise((done) => setTimeout(done, waited() < 15 ? 2000 : 5000));
    try {
      const address = `${place.dataset.watch}&waited=${waited()}`;
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      if (answer.ok) show(place, await answer.text());
    } catch {
      // The network is away for a moment; the next turn asks again.
    }
  }
}

function show(place, text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").body;
  const heading = fresh.querySelector("h1");
  // Nothing is announced twice: only what reads otherwise than before goes in.
  if (!heading || fresh.textContent === place.textContent) return;
  const final = !fresh.querySelector("[data-waiting]");
  place.replaceChildren(...fresh.childNodes);
  if (final) {
    document.title = `${place.querySelector("[data-title]").dataset.title}`;
    place.querySelector("h1").focus();
  }
}
