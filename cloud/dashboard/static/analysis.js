// A question in chips: whatever is changed is asked at once, stands in the address, and the back button takes it back.
// Without this script the same form is sent by its button.
import { children } from "./morph.js";
import { request } from "./refused.js";
import { say } from "./words.js";

const main = document.querySelector("main");
const SETTLED_MS = 160; // arrows through a list are one change
let running = null;
let timer = 0;

const form = () => document.getElementById("question");
const empty = new Set(["", "in"]); // an unset chip, and the usual way a filter reads

function address() {
  const pairs = [...new FormData(form())].filter(([name, value]) => !empty.has(value) || ["which", "amount", "unit"].includes(name));
  // The row that adds a change brings no amount of its own.
  return "?" + new URLSearchParams(pairs);
}

async function draw() {
  running?.abort();
  const mine = (running = new AbortController());
  document.getElementById("answer")?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch("/fragments/analysis" + location.search, { headers: { Accept: "text/html" }, signal: mine.signal });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) return location.reload(); // the page that says what is wrong
    if (timer) return; // something was changed meanwhile, and is asked in a moment
    children(main, page.body);
    form().reset(); // what the server drew is what is chosen now
    for (const link of document.querySelectorAll(".languages a")) {
      const query = new URLSearchParams(location.search);
      query.set("lang", link.lang);
      link.href = "?" + query;
    }
    document.title = main.querySelector("[data-title]").dataset.title + " · Triflow";
    document.getElementById("answer")?.removeAttribute("aria-busy");
    document.querySelector(".filter details[open] input")?.focus();
  } catch (error) {
    if (error.name !== "AbortError") location.reload();
  }
}

function go(search) {
  if (search === location.search) return;
  history.pushState(null, "", "/analysis" + search);
  draw();
}

function settled() {
  timer = 0;
  const search = address();
  if (search === location.search) draw();
  else go(search);
}

function soon(event) {
  const control = event.target;
  if (!control.form || control.form.id !== "question") return;
  clearTimeout(timer);
  timer = setTimeout(settled, control.type === "checkbox" || control.type === "number" ? SETTLED_MS * 3 : SETTLED_MS);
}

async function send(path, method, body) {
  await request(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
}

async function pinned(work, told) {
  let said = told;
  try {
    await work();
  } catch (error) {
    said = error.message;
  }
  await draw();
  const note = document.getElementById("pinned"); // after the page was drawn anew, which empties it
  if (note) note.textContent = said;
}

main.addEventListener("change", soon);
main.addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = event.target;
  if (asked.id === "question") {
    if (event.submitter?.name === "drop")
      for (const control of event.submitter.closest(".chip, .edit").querySelectorAll("select, input")) control.disabled = true;
    go(address());
  } else if (asked.id === "pin-form") {
    const body = { title: asked.elements.title.value, plan: JSON.parse(asked.dataset.plan) };
    asked.closest("details").open = false;
    pinned(() => send("/api/v1/pins", "POST", body), say("ask.pinned"));
  } else if (asked.classList.contains("rename")) {
    const { pin, version } = asked.closest("[data-pin]").dataset;
    asked.closest("details").open = false;
    pinned(() => send(`/api/v1/pins/${pin}`, "PATCH", { version: Number(version), title: asked.elements.title.value }), say("ask.saved"));
  }
});
main.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/analysis']");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    go(new URL(link.href).search);
    scrollTo({ top: 0 });
    return;
  }
  const move = event.target.closest("[data-move]");
  const gone = event.target.closest("[data-unpin]");
  const tile = event.target.closest("[data-pin]");
  if (!tile || !(move || gone)) return;
  const { pin, version, place } = tile.dataset;
  if (gone) pinned(() => send(`/api/v1/pins/${pin}?version=${version}`, "DELETE"), say("ask.unpinned"));
  else pinned(() => send(`/api/v1/pins/${pin}`, "PATCH", { version: Number(version), place: Math.max(0, Number(place) + Number(move.dataset.move)) }), say("ask.saved"));
});
// One open list at a time; a click elsewhere and Escape close it.
document.addEventListener("click", (event) => {
  for (const one of document.querySelectorAll("main details[open]:has(> .pop)")) if (!one.contains(event.target)) one.open = false;
});
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.activeElement?.closest("details[open]:has(> .pop)");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
addEventListener("popstate", draw);
