// Ask a gateway again for what is missing in an hour.
import { post } from "./refused.js";
import { say } from "./words.js";

async function ask(button) {
  const { ask: gateway, site, from, to } = button.dataset;
  const told = document.getElementById("asked");
  button.setAttribute("aria-busy", "true");
  try {
    const said = await (await post("/api/v1/completeness/request" + location.search, { gateway, site, from, to, by: "dashboard" })).json();
    told.textContent = said.asked ? say("hours.asked", { n: said.records.toLocaleString("en-US") }) : say("hours.asked_none");
    document.dispatchEvent(new Event("triflow:changed"));
  } catch (error) {
    told.textContent = say("hours.ask_failed", { why: error.message });
  } finally {
    button.removeAttribute("aria-busy");
  }
}

export function startAsking() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-ask]");
    if (button) ask(button);
  });
}
