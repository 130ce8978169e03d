// The sheet: the verdicts of a line, and one of them with all it stood on.
import { get, inWords } from "/static/ask.js";
import { feedback } from "/static/feedback.js";
import { duration, failure, figure, measured, moment, percent, time, whyBad } from "/static/figures.js";
import { gateway } from "/static/gateway.js";
import { byId, fromTemplate, ICONS, iconOf, list, make, put, rows } from "/static/nodes.js";
import { fill, label, language, local, words } from "/static/speech.js";
import { whatIf } from "/static/whatif.js";

const SHOWN = 50;
const RANK = { critical: 0, warning: 1, unknown: 2, ok: 3 };
const LEAST_SHARE = 0.005; // what moved a model less than this, beside what moved it most, did not move it
const GROUPS = ["limit", "rule", "table", "tree", "composite", "change", "stuck", "chart", "capability"];

let line = null; // whose verdicts are listed
let recent = [];
let shown = null; // the answer for one verdict
let wanted = 0; // of several askings only the last is shown

const nameOf = (of) => local(of.name) || of.work_unit.split("/").slice(1).join(" ");

export async function openVerdict(id, of, { back = false } = {}) {
  open(of, back ? "back" : "verdict");
  const told = await asked(`/api/verdicts/${id}`);
  if (!told) return;
  shown = told;
  showVerdict();
  whatIf.open(told, nameOfInput);
  await feedback.open(told.verdict);
}

export async function openRecent(of) {
  open(of, "list");
  const told = await asked(`/api/verdicts?limit=${SHOWN}&line=${encodeURIComponent(of.work_unit)}`);
  if (!told) return;
  recent = told.verdicts;
  showRecent();
}

function open(of, view) {
  line = of;
  shown = null;
  byId("sheet").dataset.view = view === "list" ? "list" : "verdict";
  byId("sheet-back").hidden = view !== "back";
  byId("recent").hidden = view !== "list";
  byId("verdict").hidden = true;
  complain("");
  title();
  if (!byId("sheet").open) byId("sheet").showModal();
  byId("sheet").scrollTop = 0;
  byId("sheet-title").focus();
}

function title() {
  put(byId("sheet-where"), line.work_unit.split("/").slice(0, 2).join(" / "));
  const what = byId("sheet").dataset.view === "list" ? words.recentVerdicts : words.verdict;
  put(byId("sheet-title"), `${nameOf(line)} · ${what}`);
}

async function asked(path) {
  const mine = (wanted += 1);
  put(byId("sheet-wait"), words.asking);
  try {
    const told = await get(path);
    return mine === wanted ? told : null;
  } catch (error) {
    if (mine === wanted) complain(inWords(error));
    return null;
  } finally {
    if (mine === wanted) put(byId("sheet-wait"), "");
  }
}

function complain(text) {
  byId("sheet-fault").hidden = !text;
  put(byId("sheet-fault"), text);
}

// --- the list

function showRecent() {
  const only = byId("recent-only").checked;
  const items = recent.filter((one) => !only || one.decision !== "normal");
  byId("recent").hidden = false;
  byId("recent-none").hidden = items.length > 0;
  put(byId("recent-none"), recent.length ? words.recentAllNormal : words.recentNone);
  list(
    byId("recent-list"),
    items,
    (one) => one.verdict_id,
    (one) => {
      const node = fromTemplate("verdict-row");
      node.querySelector("button").addEventListener("click", () => openVerdict(one.verdict_id, line, { back: true }));
      return node;
    },
    (node, one) => {
      node.firstElementChild.dataset.decision = one.decision;
      node.querySelector("path").setAttribute("d", ICONS[iconOf(one.decision)]);
      put(node.querySelector(".word"), label("decision", one.decision));
      put(node.querySelector("time"), moment(one.at / 1e6));
      put(node.querySelector("small"), percent(one.confidence));
      put(node.querySelector(".said"), local(one.summary));
    },
  );
}

// --- one verdict

const entries = () => GROUPS.flatMap((group) => shown?.rules?.[group] ?? []);
const titleOf = (check) => local(entries().find((entry) => entry.name === check)?.title) || check.replaceAll("_", " ");

// What an input is called: the title of the check that looks at it, else its own name, with what was taken of it.
function nameOfInput(name) {
  const [head, ...rest] = name.split(".");
  const part = rest.join(".");
  if (head === "feature") return part.replaceAll("_", " ");
  if (name in words.input) return words.input[name];
  if (head === "counts") return fill(words.input.counts, { what: label("count", part) });
  const of = entries().find((entry) => entry.value === name);
  const plain = (of && local(of.title)) || head.replaceAll("_", " ");
  return part && part !== "last" ? `${plain} · ${label("statistic", part)}` : plain;
}

function showVerdict() {
  const { verdict } = shown;
  byId("verdict").hidden = false;
  const box = byId("verdict-box");
  box.dataset.decision = verdict.decision;
  box.querySelector("path").setAttribute("d", ICONS[iconOf(verdict.decision)]);
  put(box.querySelector(".decision span"), label("decision", verdict.decision));
  put(box.querySelector("small"), `${words.confidence} ${percent(verdict.confidence)} · ${moment(verdict.at / 1e6)}`);
  put(box.querySelector(".summary"), local(verdict.summary));
  byId("needs-human").hidden = !verdict.needs_human;
  showActions(verdict);
  showWhy(verdict);
  showChecks(verdict);
  showModel(verdict);
  showInputs(verdict);
  showRecord(verdict);
}

function showActions({ actions = [] }) {
  byId("verdict-actions").hidden = actions.length === 0;
  list(
    byId("actions-list"),
    actions.map((action, place) => ({ ...action, place })),
    (action) => `${action.place}`,
    () => make("li", {}, make("strong"), make("span.soft")),
    (node, action) => {
      put(node.querySelector("strong"), action[language] || action.en || label("actionType", action.action_type));
      const write = action.tag ? fill(words.wouldWrite, { tag: action.tag, value: figure(JSON.parse(action.value)) }) : "";
      const more = [label("actionType", action.action_type), label("priority", action.priority), write];
      put(node.querySelector("span"), more.filter(Boolean).join(" · "));
    },
  );
}

function showWhy({ components = {} }) {
  const told = shown.explanation?.[language] ?? { reasoning: [], decision_factors: [] };
  const ofChecks = told.decision_factors.filter((factor) => "status" in factor).length;
  const sides = told.reasoning.slice(ofChecks);
  byId("why-list").replaceChildren(...sides.map((sentence) => make("li", {}, sentence)));
  rows(
    byId("why-parts"),
    Object.entries(components).map(([name, share]) => [label("component", name), percent(share)]),
  );
}

function showChecks({ checks = [] }) {
  const ranked = [...checks].sort((a, b) => rank(a) - rank(b));
  byId("checks-none").hidden = checks.length > 0;
  list(byId("checks-list"), ranked, (check) => check.name, () => fromTemplate("check"), (node, check) => {
    node.dataset.decision = check.suppressed_by ? "none" : check.status === "ok" ? "normal" : check.status;
    node.querySelector("path").setAttribute("d", ICONS[check.suppressed_by ? "wait" : iconOf(check.status)]);
    put(node.querySelector(".word"), label("checkStatus", check.status));
    put(node.querySelector("strong"), titleOf(check.name));
    const value = check.value === undefined ? "" : measured(check.value, check.unit);
    const limit = check.threshold === undefined ? "" : fill(label("limit", sideOf(check)), { value: measured(check.threshold, check.unit) });
    put(node.querySelector(".figures"), [value, limit].filter(Boolean).join(" · "));
    const more = [
      check.suppressed_by && fill(words.suppressedBy, { check: titleOf(check.suppressed_by) }),
      check.path?.length && `${words.path} ${check.path.join(" → ")}`,
    ];
    put(node.querySelector(".more"), more.filter(Boolean).join(" · "));
  });
}

// A value that passed stands between its limits; which of them is meant is told by the rules.
function sideOf({ name, threshold }) {
  const entry = entries().find((one) => one.name === name) ?? {};
  if ([entry.warning_low, entry.critical_low].includes(threshold)) return "low";
  return [entry.warning_high, entry.critical_high].includes(threshold) ? "high" : "any";
}

const rank = (check) => (check.suppressed_by ? 4 : (RANK[check.status] ?? 3));

function showModel({ ml }) {
  byId("verdict-model").hidden = !ml;
  if (!ml) return;
  const away = ml.failure?.startsWith("not_applicable");
  const decision = ml.failure ? "none" : ml.decision;
  const node = byId("model-says");
  node.dataset.decision = decision;
  node.querySelector("path").setAttribute("d", ICONS[ml.failure ? "wait" : iconOf(ml.decision)]);
  const said = ml.failure
    ? fill(away ? words.modelAway : words.modelFailed, { why: failure(away ? ml.failure.slice(15).trim() : ml.failure.split(":")[0]) })
    : `${label("decision", ml.decision)} · ${words.confidence} ${percent(ml.confidence)}${ml.label && ml.label !== ml.decision ? ` · ${ml.label}` : ""}`;
  put(node.querySelector("span"), said);
  put(byId("model-sentence"), ml.failure && !away ? ml.failure.split(":").slice(1).join(":").trim() : "");
  byId("model-drifted").hidden = !ml.drifted;
  rows(byId("model-parts"), [
    [words.model, `${titleOfModel(ml.model)} ${ml.version}`],
    [words.answeredIn, ml.latency_us ? `${figure(ml.latency_us / 1000)} ms` : ""],
  ]);
  bars(byId("model-bars"), ml.contributions ?? {}, (name) => figure(ml.features?.[name]), true);
  byId("bars-title").hidden = byId("model-bars").children.length === 0;
  bars(byId("score-bars"), ml.failure ? {} : (ml.scores ?? {}), () => "", false);
  byId("scores-title").hidden = byId("score-bars").children.length === 0;
}

const titleOfModel = (name) => local(gateway.status.models.find((one) => one.model === name)?.title) || name.replaceAll("_", " ");

// Plain bars: for and against the answer, or shares of one; each row says its figure in text too.
function bars(place, weights, beside, signed) {
  const most = Math.max(signed ? 0 : 1, ...Object.values(weights).map(Math.abs));
  const items = Object.entries(weights)
    .filter(([, weight]) => !signed || Math.abs(weight) > most * LEAST_SHARE)
    .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  place.replaceChildren(
    ...items.map(([name, weight]) => {
      const bar = make("span.bar", { "aria-hidden": true, "data-against": weight < 0 ? true : null }, make("i"));
      bar.firstElementChild.style.inlineSize = `${most ? (100 * Math.abs(weight)) / most : 0}%`;
      const value = beside(name);
      const words_ = signed ? `${weight < 0 ? "−" : "+"}${figure(Math.abs(weight))}` : percent(weight);
      return make("li", {}, make("span.name", {}, nameOfInput(`feature.${name}`), value ? make("small", {}, value) : ""), bar, make("span.weight", {}, words_));
    }),
  );
}

function showInputs(verdict) {
  const faults = new Map();
  const ages = new Map();
  for (const [name, value] of Object.entries(verdict.inputs ?? {})) {
    if (name.startsWith("fault:")) faults.set(name.slice(6), value);
    if (name.startsWith("age:")) ages.set(name.slice(4), Number(value) / 1e9);
  }
  const plain = shown.changeable.filter((one) => !one.name.startsWith("feature."));
  const silent = [...faults.keys()].filter((tag) => !plain.some((one) => one.name.split(".")[0] === tag));
  const items = [...plain, ...silent.map((tag) => ({ name: tag, value: null }))];
  byId("inputs-none").hidden = items.length > 0;
  list(byId("inputs-list"), items, (one) => one.name, () => make("div", {}, make("dt"), make("dd")), (node, one) => {
    const tag = one.name.split(".")[0];
    const fault = faults.get(tag) ?? one.why;
    node.dataset.fault = fault ? "yes" : "no";
    put(node.querySelector("dt"), nameOfInput(one.name));
    const age = ages.has(tag) ? fill(words.oldBy, { age: duration(ages.get(tag)) }) : "";
    const value = one.name === "state" ? label("state", one.value) : measured(one.value, one.unit);
    put(node.querySelector("dd"), [value, fault ? whyBad(fault) : "", age].filter(Boolean).join(" · "));
  });
}

function showRecord(verdict) {
  const { context = {} } = verdict;
  rows(byId("record"), [
    [words.window, `${moment(verdict.start / 1e6)} – ${time(verdict.at / 1e6)}`],
    [words.status, verdict.status],
    [words.decidedBy, label("by", verdict.source)],
    [words.policy, verdict.policy.replaceAll("_", " ")],
    [words.ruleset, `${local(shown.rules?.ruleset?.title) || verdict.ruleset} ${verdict.ruleset_version}`],
    [words.input.state, verdict.state && label("state", verdict.state)],
    [words.order, context.order],
    [words.product, context.product],
    [words.lot, context.lot],
    [words.number, verdict.verdict_id],
  ]);
}

// Once more in the other language; what was typed stays.
export function speakSheet() {
  if (!line) return;
  title();
  if (byId("sheet").dataset.view === "list") showRecent();
  if (!shown) return;
  showVerdict();
  whatIf.speak();
  feedback.show();
}

byId("recent-only").addEventListener("change", showRecent);
byId("sheet-close").addEventListener("click", () => byId("sheet").close());
byId("sheet-back").addEventListener("click", () => openRecent(line));
byId("sheet").addEventListener("close", () => {
  wanted += 1;
  put(byId("sheet-wait"), "");
});
