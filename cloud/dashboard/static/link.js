// The switch that cuts the network between gateways and cloud. Cutting asks first; restoring does not.
import { say } from "./words.js";

async function set(cut) {
  const button = document.getElementById("cut");
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("/api/v1/link", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ cut }),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    document.dispatchEvent(new Event("triflow:changed"));
  } catch (error) {
    document.getElementById("link-state").textContent = say("link.failed", { why: error.message });
  } finally {
    document.getElementById("cut")?.removeAttribute("aria-busy");
  }
}

export function startLink() {
  const ask = document.getElementById("ask-cut");
  if (!ask) return;
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#cut")) return;
    if (document.getElementById("link").dataset.cut === "true") set(false);
    else {
      ask.returnValue = "no";
      ask.showModal();
    }
  });
  ask.addEventListener("close", () => {
    if (ask.returnValue === "yes") set(true);
  });
}
