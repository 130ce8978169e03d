// A record that was held: release it as it is, put it right, or take it back. Who decides and why is on record.
import { say } from "./words.js";

const dialog = document.getElementById("decide");
const form = document.getElementById("decide-form");
const told = document.getElementById("decide-answer");
const OFFERS = { release: ["release"], correct: ["correct", "retract"], rebuild: ["rebuild"] };
let target = {};

function post(path, body) {
  return fetch(path + location.search.replace(/[?&](letters|page|lang)=[^&]*/g, ""), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

function show(kind, title) {
  told.hidden = true;
  document.getElementById("decide-title").textContent = title;
  document.getElementById("decide-what").textContent = target.said;
  for (const button of form.querySelectorAll("[data-do]")) button.hidden = !OFFERS[kind].includes(button.dataset.do);
  const label = form.querySelector(".replacement");
  label.hidden = kind !== "correct";
  form.elements.by.value ||= localStorage.getItem("actor") ?? "";
  form.elements.reason.value = "";
  dialog.showModal();
}

async function correct(fact) {
  const area = form.elements.replacement;
  area.value = "";
  try {
    const answer = await fetch(`/api/v1/facts/${fact}/revisions`);
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error.message);
    const standing = said.revisions.findLast((one) => one.body) ?? said.revisions[0];
    area.value = JSON.stringify(standing.body, null, 1);
  } catch (error) {
    told.hidden = false;
    told.textContent = error.message;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-release], [data-correct], [data-rebuild]");
  if (event.target.closest("[data-close]")) dialog.close();
  if (!button) return;
  if ("rebuild" in button.dataset) {
    target = { said: button.closest("section").querySelector("p").textContent };
    show("rebuild", button.textContent);
    return;
  }
  const row = button.closest("li");
  target = { id: button.dataset.release, fact: button.dataset.correct, said: row.querySelector("p + p").textContent };
  show(target.fact ? "correct" : "release", button.textContent);
  if (target.fact) correct(target.fact);
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const kind = event.submitter?.dataset.do ?? (target.fact ? "correct" : target.id ? "release" : "rebuild");
  const { by, reason, replacement } = Object.fromEntries(new FormData(form));
  localStorage.setItem("actor", by);
  form.setAttribute("aria-busy", "true");
  try {
    const body = { by, reason };
    if (kind === "correct") body.replacement = JSON.parse(replacement);
    if (kind === "retract") body.replacement = null;
    const path = kind === "rebuild" ? "/api/v1/bi/mv-refresh" : target.fact ? `/api/v1/facts/${target.fact}/correction` : `/api/v1/etl/dead-letters/${target.id}/release`;
    const answer = await post(path, body);
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    dialog.close();
    document.getElementById("decided").textContent = say("data.done");
    document.dispatchEvent(new Event("triflow:changed"));
  } catch (error) {
    told.hidden = false;
    told.textContent = error.message;
  } finally {
    form.removeAttribute("aria-busy");
  }
});
