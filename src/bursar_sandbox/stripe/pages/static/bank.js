// The bank's page in a frame over the shop's page: tells the library around it when the bank has
// its answer, and takes "stop" from it. What is told is no secret; the library asks the sandbox
// itself what came of the payment.
const say = (type) => {
  if (window.parent !== window) window.parent.postMessage({ sandbox: "bank", type }, "*");
};

if (document.querySelector("script[data-answered]")) say("answered");

window.addEventListener("message", (event) => {
  const said = event.data;
  if (event.source !== window.parent || said?.sandbox !== "bank" || said.type !== "stop") return;
  document.querySelector("button[value=refuse]")?.click();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") say("escape");
});
