// What if: a verdict judged again as it was, or with other inputs. Changes nothing on the line.
import { inWords, post } from "/static/ask.js";
import { figure, measured, percent, unit } from "/static/figures.js";
import { byId, ICONS, iconOf, list, make, put, rows } from "/static/nodes.js";
import { fill, label, local, words } from "/static/speech.js";

const STATES = ["EXECUTE", "IDLE", "HELD", "SUSPENDED", "STOPPED", "ABORTED", "COMPLETE", "STARTING"];

let told = null;
let nameOf = (name) => name;
let answer = null; // {what: "again" | "if", replay} or {fault}
let busy = 0;

function open(given, naming) {
  told = given;
  nameOf = naming;
  answer = null;
  busy += 1; // what is still on its way belongs to another verdict
  byId("whatif").open = false;
  byId("whatif-fields").replaceChildren();
  working(false);
  speak();
}

const fields = () => told.changeable.filter((one) => one.type !== null);

function speak() {
  if (!told) return;
  const missing = told.rules_missing !== "";
  byId("whatif-missing").hidden = !missing;
  byId("whatif-form").hidden = missing;
  put(byId("whatif-missing"), missing ? words.rulesMissing : "");
  list(byId("whatif-fields"), fields(), (one) => one.name, makeField, showField);
  show();
}

function makeField(one) {
  const id = `if-${one.name}`;
  const none = make("option", { value: "" }, "–");
  let field;
  if (one.type === "bool") field = make("select", {}, none, make("option", { value: "true" }), make("option", { value: "false" }));
  else if (one.name === "state") field = make("select", {}, ...new Set([one.value, ...STATES].filter(Boolean)).values().map((state) => make("option", { value: state })));
  else field = make("input", { type: "text", autocomplete: "off", inputmode: one.type === "string" ? "text" : "decimal" });
  field.id = id;
  field.value = written(one.value);
  field.addEventListener("input", () => mark(one));
  return make("div.field", {}, make("label", { for: id }), make("span.entry", {}, field, make("span.unit")), make("small.fault", { id: `${id}-fault`, role: "alert" }), make("small.was"));
}

const written = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? String(Number(value.toPrecision(7))) : String(value));

function showField(node, one) {
  const feature = one.name.startsWith("feature.");
  put(node.querySelector("label"), feature ? fill(words.modelInput, { name: nameOf(one.name) }) : nameOf(one.name));
  put(node.querySelector(".unit"), unit(one.unit));
  const [low, high] = one.range ?? [null, null];
  const range = low === null || high === null ? "" : fill(words.range, { low: figure(low), high: figure(high) });
  const was = fill(words.was, { value: one.name === "state" ? label("state", one.value) : measured(one.value, one.unit) });
  put(node.querySelector(".was"), [was, range].filter(Boolean).join(" · "));
  for (const option of node.querySelectorAll("option[value]:not([value=''])")) {
    put(option, one.type === "bool" ? words.bool[option.value] : label("state", option.value));
  }
}

const fieldOf = (one) => document.getElementById(`if-${one.name}`);

function mark(one) {
  const field = fieldOf(one);
  field.closest(".field").dataset.changed = field.value.trim() === written(one.value) ? "no" : "yes";
  blame(one.name, "");
}

function blame(name, text) {
  const field = document.getElementById(`if-${name}`);
  if (!field) return false;
  put(document.getElementById(`if-${name}-fault`), text);
  if (text) {
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", `if-${name}-fault`);
  } else {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  return true;
}

// What was changed, or null when something cannot be read; empty means that there was no value.
function changes() {
  const found = {};
  let first = null;
  for (const one of fields()) {
    const text = fieldOf(one).value.trim();
    if (text === written(one.value)) continue;
    let fault = "";
    if (text === "") found[one.name] = null;
    else if (one.type === "bool") found[one.name] = text === "true";
    else if (one.type === "string") found[one.name] = text;
    else {
      const value = Number(text.replace(",", "."));
      if (!Number.isFinite(value)) fault = words.noNumber;
      else if (value < 0 && one.name.startsWith("counts.")) fault = words.noCount;
      else found[one.name] = value;
    }
    blame(one.name, fault);
    if (fault) first ??= fieldOf(one);
  }
  first?.focus();
  return first ? null : found;
}

async function ask(what) {
  const overrides = what === "if" ? changes() : {};
  if (overrides === null) return;
  if (what === "if" && Object.keys(overrides).length === 0) {
    answer = { what, fault: words.nothingChanged };
    show();
    return;
  }
  const mine = (busy += 1);
  working(true);
  let got;
  try {
    const body = { verdict: told.verdict.verdict_id, ...(what === "if" && { overrides }) };
    got = { what, replay: await post("/api/replay", body) };
  } catch (error) {
    got = { what, fault: refused(error) };
  }
  if (mine !== busy) return;
  answer = got;
  working(false);
  show();
  byId(answer.fault ? "whatif-fault" : "whatif-answer").scrollIntoView({ block: "nearest" });
}

// Every field that cannot be used is told beside it; what belongs to none, above.
function refused(error) {
  const others = [];
  let placed = 0;
  for (const { field, message } of error.fields ?? []) {
    const name = field.startsWith("overrides.") ? field.slice(10) : (/^([\w.]+): /.exec(message)?.[1] ?? "");
    if (blame(name, message.replace(`${name}: `, ""))) placed += 1;
    else others.push(message);
  }
  if (error.fields?.length) return [placed ? words.seeFields : "", ...others].filter(Boolean).join(" ");
  return inWords(error);
}

function working(yes) {
  for (const button of byId("whatif-form").querySelectorAll("button")) button.disabled = yes;
  put(byId("whatif-wait"), yes ? words.judgingAgain : "");
}

function show() {
  byId("whatif-fault").hidden = !answer?.fault;
  put(byId("whatif-fault"), answer?.fault ?? "");
  byId("whatif-answer").hidden = !answer?.replay;
  if (!answer?.replay) return;
  if (answer.what === "again") showAgain(answer.replay);
  else showIf(answer.replay.what_if[0]);
}

function outcome(decision, text, summary) {
  const box = byId("whatif-outcome");
  box.dataset.decision = decision;
  box.querySelector("path").setAttribute("d", ICONS[iconOf(decision)]);
  put(box.querySelector(".decision span"), text);
  put(box.querySelector(".summary"), summary);
}

function showAgain({ exact, differs = [] }) {
  outcome(exact ? "normal" : "warning", exact ? words.exact : words.notExact, exact ? words.exactWhy : fill(words.notExactWhy, { what: differs.join(", ") }));
  rows(byId("whatif-rows"), []);
  put(byId("whatif-note"), "");
}

function showIf(one) {
  const { original_result: before, what_if_result: after, comparison } = one;
  const from = label("decision", before.decision);
  const to = label("decision", after.decision);
  outcome(after.decision, comparison.result_changed ? `${from} → ${to}` : fill(words.stays, { decision: to }), local(after.summary));
  const points = Math.round(100 * comparison.confidence_diff);
  const changed = one.modifications.map(({ name, from: was, to: is }) => `${nameOf(name)} ${shown(name, was)} → ${shown(name, is)}`);
  rows(byId("whatif-rows"), [
    [words.changed, changed.join(" · ")],
    [words.confidence, `${percent(before.confidence)} → ${percent(after.confidence)} (${points > 0 ? "+" : points < 0 ? "−" : "±"}${Math.abs(points)})`],
    [words.reasons, comparison.change_reasons.map((reason) => label("changeReason", reason)).join(" · ")],
    [words.model, one.model === "none" ? "" : label("modelPart", one.model)],
    [words.notRecorded, one.missing.map(nameOf).join(", ")],
  ]);
  put(byId("whatif-note"), comparison.result_changed ? "" : delays(one));
}

const shown = (name, value) => measured(value, fields().find((one) => one.name === name)?.unit);

// A check that waits before it speaks stays silent in a what-if of one window; that has to be said.
function delays(one) {
  const names = new Set(one.modifications.map(({ name }) => name));
  const slow = [...(told.rules?.limit ?? []), ...(told.rules?.rule ?? [])].filter((entry) => entry.delay_s && names.has(entry.value));
  return slow.map((entry) => fill(words.delayed, { check: local(entry.title) || entry.name, seconds: figure(entry.delay_s) })).join(" ");
}

byId("whatif-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask("if");
});
byId("whatif-again").addEventListener("click", () => ask("again"));
byId("whatif-reset").addEventListener("click", () => {
  for (const one of fields()) {
    fieldOf(one).value = written(one.value);
    mark(one);
  }
  answer = null;
  show();
});

export const whatIf = { open, speak };
