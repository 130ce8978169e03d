// A record that was held: release it as it is, put it right, or take it back. Who decides and why is on record.
import { reach, request } from "./refused.js";
import { say } from "./words.js";

const dialog = document.getElementById("decide");
const form = document.getElementById("decide-form");
const told = document.getElementById("decide-answer");
const place = form.querySelector(".replacement");
const OFFERS = { release: ["release"], correct: ["correct", "retract"], rebuild: ["rebuild"] };
let target = {};

function asked() {
  const tenant = new URLSearchParams(location.search).get("tenant");
  return tenant ? `?tenant=${encodeURIComponent(tenant)}` : "";
}

function post(path, body, replacement) {
  // The record goes as the text it is: numbers of scripts are too coarse for its times.
  const more = replacement === undefined ? "}" : `,"replacement":${replacement}}`;
  return request(path + asked(), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body).slice(0, -1) + more,
  });
}

function readable(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(say("refused.replacement", { why: error.message })); // which says where
  }
}

function count(name, value) {
  const area = form.elements.replacement;
  const line = new RegExp(`^( "${name}": )[^,\\n]*`, "m");
  area.value = line.test(area.value)
    ? area.value.replace(line, `$1${value}`)
    : area.value.replace(/^ "produced":/m, ` "${name}": ${value},\n "produced":`);
}

place.addEventListener("input", ({ target: field }) => {
  if (field.dataset.count && field.validity.valid && field.value !== "") count(field.dataset.count, field.value);
  if (field.name !== "replacement") return;
  try {
    const body = JSON.parse(field.value);
    for (const one of place.querySelectorAll("[data-count]")) one.value = body[one.dataset.count] ?? 0;
  } catch {} // still being written
});

function show(kind, title) {
  told.hidden = true;
  document.getElementById("decide-title").textContent = title;
  document.getElementById("decide-what").textContent = target.said;
  for (const button of form.querySelectorAll("[data-do]")) button.hidden = !OFFERS[kind].includes(button.dataset.do);
  place.hidden = kind !== "correct";
  if (place.hidden) place.replaceChildren(); // what is not shown bars nobody from sending
  form.elements.by.value ||= localStorage.getItem("actor") ?? "";
  form.elements.reason.value = "";
  dialog.showModal();
}

async function correct(fact) {
  place.replaceChildren();
  try {
    const answer = await reach(`/fragments/facts/${fact}${asked()}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(page.body.textContent.trim());
    if (fact === target.fact) place.replaceChildren(...page.body.childNodes);
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
    if (kind === "correct") readable(replacement);
    const whole = { correct: replacement, retract: "null" }[kind];
    const path = kind === "rebuild" ? "/api/v1/bi/mv-refresh" : target.fact ? `/api/v1/facts/${target.fact}/correction` : `/api/v1/etl/dead-letters/${target.id}/release`;
    await post(path, { by, reason }, whole);
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
