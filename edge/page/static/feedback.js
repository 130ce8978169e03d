// What people say of a verdict: a thumb, or what it should have been and why. Kept on the gateway before it is thanked for.
import { get, inWords, post } from "/static/ask.js";
import { moment } from "/static/figures.js";
import { hasCloud, isOnline } from "/static/gateway.js";
import { byId, list, make, put } from "/static/nodes.js";
import { remember, remembered } from "/static/person.js";
import { label, words } from "/static/speech.js";

const DECISIONS = ["normal", "warning", "critical", "unknown"];
const REASONS = ["incorrect", "incomplete", "irrelevant", "unclear", "slow", "other"];

let verdict = null;
let said = [];
let thanks = false;

async function open(of) {
  verdict = of;
  said = [];
  thanks = false;
  byId("feedback-form").hidden = true;
  byId("feedback-form").reset();
  byId("feedback-name").value = remembered();
  complain("");
  show();
  await look();
}

async function look() {
  const of = verdict;
  try {
    const { feedback: all } = await get("/api/feedback");
    if (of !== verdict) return;
    said = all.filter((one) => one.target === of.verdict_id);
  } catch (error) {
    if (of === verdict) complain(inWords(error));
  }
  show();
}

function show() {
  if (!verdict) return;
  const mine = said.find((one) => one.actor === remembered())?.type;
  byId("thumb-up").setAttribute("aria-pressed", String(mine === "positive"));
  byId("thumb-down").setAttribute("aria-pressed", String(mine === "negative" || mine === "correction"));
  byId("thumb-down").setAttribute("aria-expanded", String(!byId("feedback-form").hidden));
  const where = isOnline() ? words.goesUp : hasCloud() ? words.keptHere : words.keptAlone;
  put(byId("feedback-thanks"), thanks ? `${words.thanks} ${where}` : "");
  options();
  byId("said-none").hidden = said.length > 0;
  list(byId("said-list"), said, (one) => one.actor, () => make("li", {}, make("strong"), make("span"), make("small.soft")), (node, one) => {
    const word = one.type === "correction" ? `${words.shouldBe} ${label("decision", one.corrected)}` : label("thumb", one.type);
    put(node.querySelector("strong"), `${one.actor}: ${word}`);
    put(node.querySelector("span"), [one.reason && label("feedbackReason", one.reason), one.comment].filter(Boolean).join(" · "));
    put(node.querySelector("small"), [moment(one.at / 1e6), one.offline && !isOnline() && hasCloud() ? words.waitsHere : ""].filter(Boolean).join(" · "));
  });
}

// The choices; what is checked stays checked in another language.
function options() {
  choices(byId("feedback-corrected"), "corrected", ["", ...DECISIONS.filter((one) => one !== verdict.decision)], (one) => (one ? label("decision", one) : words.justWrong));
  choices(byId("feedback-reason"), "why", REASONS, (one) => label("feedbackReason", one));
}

function choices(place, name, values, word) {
  list(place, values, (value) => value, (value) => make("label.choice", {}, make("input", { type: "radio", name, value, checked: value === "" }), make("span")), (node, value) => put(node.querySelector("span"), word(value)));
}

const picked = (name) => byId("feedback-form").querySelector(`input[name="${name}"]:checked`)?.value || null;

async function give(given) {
  const actor = byId("feedback-name").value.trim();
  if (!actor) {
    complain(words.nameNeeded);
    byId("feedback-name").focus();
    return;
  }
  remember(actor);
  complain("");
  thanks = false;
  const buttons = byId("verdict-feedback").querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  const of = verdict;
  try {
    await post("/api/feedback", { target: of.verdict_id, actor, ...given });
    if (of !== verdict) return;
    thanks = true;
    byId("feedback-form").hidden = true;
    await look();
  } catch (error) {
    complain(error.status === 404 ? words.tooOld : inWords(error));
  } finally {
    for (const button of buttons) button.disabled = false;
    show();
  }
}

function complain(text) {
  byId("feedback-fault").hidden = !text;
  put(byId("feedback-fault"), text);
}

byId("thumb-up").addEventListener("click", () => give({ type: "positive" }));
byId("thumb-down").addEventListener("click", () => {
  const form = byId("feedback-form");
  form.hidden = !form.hidden;
  thanks = false;
  show();
  if (!form.hidden) form.querySelector("input").focus();
});
byId("feedback-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const corrected = picked("corrected");
  const more = { reason: picked("why"), comment: byId("feedback-comment").value.trim() };
  give(corrected ? { type: "correction", corrected, ...more } : { type: "negative", ...more });
});

export const feedback = { open, show };
