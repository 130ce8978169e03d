// Acting on the machine: who waits for a yes, what came of it, how far the gateway may go, and the switch that stops it.
import { get, inWords, post } from "/static/ask.js";
import { duration, measured, moment } from "/static/figures.js";
import { gateway } from "/static/gateway.js";
import { byId, fromTemplate, ICONS, list, make, put, rows } from "/static/nodes.js";
import { order } from "/static/order.js";
import { openVerdict } from "/static/sheet.js";
import { fill, label, local, words } from "/static/speech.js";

const FRESH_MS = 5 * 60_000; // so long an outcome stands on top
const LOOK_MS = 5000;
const MODES = ["monitor", "advise", "control"];
const TONE = { EXECUTED: "check", FAILED: "cross", UNKNOWN: "question", REJECTED: "stop", EXPIRED: "wait" };

let waiting = { approvals: [], may_decide: false, key: false };
let told = null; // what /api/actions said
let heardAt = 0;
let seen = ""; // of what the status said when we looked last
let looking = false;
let units = new Map(); // tag id → code of its unit
let fault = "";

const lineOf = (workUnit) => gateway.status?.lines.find((line) => line.work_unit === workUnit) ?? { work_unit: workUnit };
const nameOf = (workUnit) => local(lineOf(workUnit).name) || workUnit.split("/").slice(1).join(" ");
const tagOf = (target) => (target ?? "").split("/").pop().replaceAll("_", " ");
// Reasons are the gateway's own sentences; those of the matrix, which every action has, are said in words.
function because(reason) {
  const [, level, risk, decision] = /^trust (\d) × ([A-Z]+): (\w+)$/.exec(reason) ?? [];
  if (decision) return fill(words.matrixSaid, { level, risk: label("risk", risk), decision: label("matrix", decision) });
  return reason.startsWith("mode advise:") ? words.adviseSaid : reason;
}

const valueOf = (target, value) => measured(value, units.get(target));

// Called with every status: asks for more only when there is something new, and now and then.
export function act() {
  const { acting } = gateway.status;
  const now = JSON.stringify([acting.mode, acting.lines, acting.killed, acting.models_off, acting.waiting, acting.on_their_way, acting.last_ended]);
  if (now !== seen || acting.on_their_way > 0 || performance.now() - heardAt > LOOK_MS) look(now);
  show();
}

async function look(now) {
  if (looking) return;
  looking = true;
  try {
    [waiting, told] = await Promise.all([get("/api/approvals"), get("/api/actions")]);
    seen = now;
    fault = "";
    const targets = [...waiting.approvals, ...told.recent, ...told.open].map((one) => one.target).filter(Boolean);
    if (targets.some((target) => !units.has(target))) {
      const { tags } = await get("/api/tags");
      units = new Map([...targets.map((target) => [target, null]), ...tags.map((tag) => [tag.id, tag.unit])]);
    }
  } catch (error) {
    fault = error.status === 0 ? "" : inWords(error); // that the gateway is gone is said elsewhere
  } finally {
    heardAt = performance.now();
    looking = false;
  }
  show();
}

export function show() {
  if (!gateway.status) return;
  const { acting } = gateway.status;
  showSwitch("killed", acting.killed, words.killedBy);
  showSwitch("models-off", acting.models_off, words.modelsOffBy);
  byId("kill").hidden = Boolean(acting.killed);
  byId("kill-now").hidden = Boolean(acting.killed) || !mayWrite(acting);
  byId("turn-models-off").hidden = Boolean(acting.models_off) || gateway.status.models.length === 0;
  put(byId("mode-word"), label("mode", acting.killed ? "killed" : acting.mode));
  put(byId("mode-hint"), label("modeHint", acting.killed ? "killed" : acting.mode));
  const own = acting.lines.filter((line) => line.mode !== acting.mode);
  list(byId("mode-lines"), acting.killed ? [] : own, (line) => line.work_unit, () => make("li"), (node, line) => put(node, `${nameOf(line.work_unit)}: ${label("mode", line.mode)}`));
  byId("acting-fault").hidden = !fault;
  put(byId("acting-fault"), fault);
  showWaiting();
  showDone();
}

// Where something may be written the switch is always at hand, not only far down.
const mayWrite = (acting) => acting.mode !== "monitor" || acting.lines.some((line) => line.mode !== "monitor");

function showSwitch(id, thrown, text) {
  byId(id).hidden = !thrown;
  if (!thrown) return;
  const at = thrown.at ? moment(thrown.at, { timeStyle: "short" }) : "";
  const reason = thrown.reason === "no reason given" ? "" : thrown.reason;
  put(byId(id).querySelector("p"), fill(text, { who: thrown.actor }));
  put(byId(id).querySelector("small"), [at, reason].filter(Boolean).join(" · "));
}

// --- what waits for a person

function showWaiting() {
  const passed = (performance.now() - heardAt) / 1000;
  const items = waiting.approvals;
  byId("waiting-actions").hidden = items.length === 0;
  put(byId("waiting-sum"), items.length ? fill(words.waitingSum, { n: items.length }) : "");
  const who = waiting.key ? words.whoKey : waiting.may_decide ? words.whoHere : words.whoElsewhere;
  put(byId("waiting-who"), items.length ? who : "");
  list(byId("waiting-list"), items, (one) => one.action, makeWaiting, (node, one) => {
    put(node.querySelector("h3"), `${nameOf(one.work_unit)} · ${tagOf(one.target)}`);
    put(node.querySelector(".old"), valueOf(one.target, one.present));
    put(node.querySelector(".new"), valueOf(one.target, one.value));
    const left = Math.max(0, one.expires_s - passed);
    put(node.querySelector(".left"), left > 0 ? fill(words.left, { time: duration(left) }) : words.leftNone);
    node.dataset.soon = left < 60 ? "yes" : "no";
    rows(node.querySelector("dl"), [
      [words.what, label("actionType", one.type)],
      [words.riskIs, label("risk", one.risk)],
      [words.askedBy, one.asked_by],
      [words.reasons, one.reasons.map(because).join(" · ")],
    ]);
    node.querySelector(".from").hidden = !one.verdict_id;
    for (const button of node.querySelectorAll(".yes, .no")) button.hidden = !waiting.may_decide;
  });
}

function makeWaiting(one) {
  const node = fromTemplate("waiting-action");
  const find = () => waiting.approvals.find((each) => each.action === one.action) ?? one;
  node.querySelector(".from").addEventListener("click", () => openVerdict(one.verdict_id, lineOf(one.work_unit)));
  node.querySelector(".yes").addEventListener("click", () => answer(find(), true));
  node.querySelector(".no").addEventListener("click", () => answer(find(), false));
  return node;
}

function answer(one, approve) {
  const change = { tag: `${nameOf(one.work_unit)} · ${tagOf(one.target)}`, old: valueOf(one.target, one.present), new: valueOf(one.target, one.value) };
  order({
    title: approve ? words.approveTitle : words.rejectTitle,
    text: fill(approve ? words.approveText : words.rejectText, change),
    yes: fill(approve ? words.approveYes : words.rejectYes, change),
    reason: { label: words.comment, least: 0 },
    send: async ({ actor, reason }) => {
      await post(`/api/approvals/${one.action}`, { approve, actor, comment: reason });
      await look("");
    },
  });
}

// --- what came of it

// One entry per action out of decisions, answers and ends.
function stories() {
  const found = new Map();
  for (const fact of [...(told?.recent ?? [])].reverse()) {
    const story = found.get(fact.action) ?? { action: fact.action, answers: [] };
    if (fact.kind === "action_decision") Object.assign(story, { decided: fact });
    if (fact.kind === "approval") story.answers.push(fact);
    if (fact.kind === "action") story.end = fact;
    story.at = fact.kind === "approval" && fact.superseded ? (story.at ?? fact.at) : fact.at;
    found.delete(fact.action);
    found.set(fact.action, story);
  }
  return [...found.values()].sort((a, b) => b.at - a.at);
}

function showDone() {
  const all = stories().filter((story) => story.end || story.decided?.decision === "reject" || story.answers.length);
  const fresh = all.filter((story) => (story.end?.status && story.end.status !== "REJECTED" || story.answers.length) && gateway.status.now - story.at / 1e6 < FRESH_MS);
  const top = all.filter((story) => fresh.includes(story) || story.end?.needs_human).slice(0, 3);
  byId("fresh").hidden = top.length === 0;
  list(byId("fresh-list"), top, (story) => story.action, () => fromTemplate("story"), showStory);
  byId("done").hidden = told === null;
  byId("done-none").hidden = all.length > 0;
  list(byId("done-list"), all.slice(0, 20), (story) => story.action, () => fromTemplate("story"), showStory);
  const held = told?.held ?? [];
  byId("held").hidden = held.length === 0;
  put(byId("held"), held.map((one) => fill(words.heldBy, { tag: tagOf(one.target), who: one.by, time: duration(one.until_s) })).join(" · "));
}

function showStory(node, { decided, answers, end, at }) {
  const target = end?.target ?? decided?.target;
  const status = end?.status ?? (decided?.decision === "reject" ? "REJECTED" : "due");
  node.dataset.status = status;
  node.dataset.human = end?.needs_human ? "yes" : "no";
  node.querySelector("path").setAttribute("d", ICONS[TONE[status] ?? "wait"]);
  const workUnit = end?.work_unit || decided?.work_unit || "";
  put(node.querySelector("strong"), [workUnit && nameOf(workUnit), tagOf(target), decided?.value !== undefined && status !== "EXECUTED" ? valueOf(target, decided.value) : ""].filter(Boolean).join(" · "));
  put(node.querySelector(".result"), outcome(status, end, target));
  const who = answers.map((one) => fill(one.superseded ? words.tooLate : one.approved ? words.saidYes : words.saidNo, { who: one.actor }) + (one.comment ? `: ${one.comment}` : ""));
  const why = end ? end.why : (decided?.reasons ?? []).map(because).join(" · ");
  put(node.querySelector("small"), [moment(at / 1e6), ...who, why].filter(Boolean).join(" · "));
}

function outcome(status, end, target) {
  if (!end) return words.actionStatus[status];
  const values = { before: valueOf(target, end.before), written: valueOf(target, end.written), read: valueOf(target, end.read_back) };
  const known = status === "EXECUTED" && end.read_back !== undefined ? words.executedAs : words.actionStatus[status];
  const back = status !== "EXECUTED" && end.read_back !== undefined && end.read_back !== null ? fill(words.readBack, values) : "";
  return [fill(known ?? status, values), back, end.needs_human ? words.lookAtIt : ""].filter(Boolean).join(" ");
}

// --- how far it may go

function changeMode() {
  const { acting } = gateway.status;
  order({
    title: words.changeMode,
    text: words.changeModeText,
    yes: words.changeModeYes,
    groups: [
      { name: "work_unit", legend: words.forWhat, chosen: "", options: [{ value: "", label: words.wholeGateway, hint: label("mode", acting.mode) }, ...acting.lines.map((line) => ({ value: line.work_unit, label: nameOf(line.work_unit), hint: label("mode", line.mode) }))] },
      { name: "mode", legend: words.howFar, chosen: acting.mode, options: MODES.map((mode) => ({ value: mode, label: label("mode", mode), hint: label("modeHint", mode) })) },
    ],
    reason: { label: words.reasonWhy, least: 5 },
    send: async ({ actor, reason, mode, work_unit }) => {
      await post("/api/mode", { mode, work_unit, actor, reason });
      await look("");
    },
  });
}

function turn(on, models) {
  const kind = models ? (on ? "modelsOff" : "modelsOn") : on ? "kill" : "lift";
  order({
    title: words[kind],
    text: words[`${kind}Text`],
    yes: words[`${kind}Yes`],
    danger: on,
    reason: { label: on ? words.reasonIfTime : words.reasonWhy, least: on ? 0 : 5 },
    send: async ({ actor, reason }) => {
      await post("/api/kill", { on, models, actor, reason });
      await look("");
    },
  });
}

byId("kill").addEventListener("click", () => turn(true, false));
byId("kill-now").addEventListener("click", () => turn(true, false));
byId("lift").addEventListener("click", () => turn(false, false));
byId("turn-models-off").addEventListener("click", () => turn(true, true));
byId("turn-models-on").addEventListener("click", () => turn(false, true));
byId("change-mode").addEventListener("click", changeMode);
