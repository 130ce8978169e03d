// Restate a period: look first at what would change, then do just that. A job is drawn by the server while it goes on.
import { post, reach } from "./refused.js";

const dialog = document.getElementById("restate");
const form = document.getElementById("restate-form");
const found = document.getElementById("restate-found");
const said = document.getElementById("restate-said");
const told = document.getElementById("restate-answer");
const sure = form.querySelector("[data-sure]");
const tenant = new URLSearchParams(location.search).get("tenant");
const asked = tenant ? `?tenant=${encodeURIComponent(tenant)}` : "";
let turn = 0; // a job that is no longer looked at is not drawn

async function draw(number, place) {
  const answer = await reach(`/fragments/jobs/${number}${asked}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok) throw new Error(page.body.textContent.trim());
  return () => place.replaceChildren(...page.body.childNodes);
}

function clear() {
  turn += 1;
  told.hidden = sure.hidden = true;
  found.replaceChildren();
  said.textContent = "";
  form.removeAttribute("aria-busy");
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

function pair() {
  const { product, cycle } = form.elements; // one goes with the other
  product.required = cycle.value !== "";
  cycle.required = product.value !== "";
}

function zone() {
  const chosen = form.elements.line.selectedOptions[0].dataset.zone;
  document.getElementById("restate-zone").textContent = chosen;
  return chosen;
}

function order(dry) {
  const { line, from, to, product, cycle, by, reason } = Object.fromEntries(new FormData(form));
  const made = { from, to, timezone: zone(), lines: line ? [line] : [], dry_run: dry, by, reason };
  return product ? { ...made, product, ideal_cycle_ms: Number(cycle) } : made;
}

async function follow(number) {
  const mine = (turn += 1);
  while (mine === turn) {
    const show = await draw(number, found);
    if (mine !== turn) return "left";
    show();
    const { state } = found.firstElementChild.dataset;
    if (state === "done" || state === "failed") {
      found.firstElementChild.scrollIntoView({ block: "nearest" });
      said.textContent = found.querySelector(".sentence-of").textContent;
      return state;
    }
    await new Promise((later) => setTimeout(later, 400));
  }
  return "left";
}

async function run(dry) {
  clear();
  localStorage.setItem("actor", form.elements.by.value);
  form.setAttribute("aria-busy", "true");
  try {
    const json = await (await post(`/api/v1/etl/restatements${asked}`, order(dry))).json();
    const state = await follow(json.id);
    if (state === "left") return;
    sure.hidden = !dry || state !== "done" || found.querySelector("tbody") === null;
    if (!dry) document.dispatchEvent(new Event("triflow:changed"));
  } catch (error) {
    told.hidden = false;
    told.textContent = error.message;
    for (const one of error.fields ?? []) form.elements[one.field]?.setAttribute("aria-invalid", "true");
    told.scrollIntoView({ block: "nearest" });
  }
  form.removeAttribute("aria-busy");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-restate]");
  if (button) {
    clear();
    form.elements.by.value ||= localStorage.getItem("actor") ?? "";
    if (button.dataset.line) {
      form.elements.line.value = button.dataset.line;
      form.elements.from.value = button.dataset.from;
      form.elements.to.value = button.dataset.to;
    }
    zone();
    dialog.showModal();
  }
  if (event.target.closest("#restate [data-leave]")) dialog.close();
  const { job } = event.target.closest("[data-job]")?.dataset ?? {};
  if (job) {
    const place = document.getElementById("job-found");
    place.replaceChildren();
    document.getElementById("job").showModal();
    draw(job, place).then((show) => show(), (error) => place.append(error.message));
  }
});

dialog.addEventListener("close", clear);
form.addEventListener("input", () => {
  clear(); // what was looked at was asked otherwise
  pair();
  zone();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  run(event.submitter !== sure);
});
