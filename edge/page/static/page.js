// The gateway's own page: what the box says once a second, for the people at the line. Needs nothing but the box.
import { act, show as showActing } from "/static/acting.js";
import { certificates } from "/static/certificates.js";
import { duration, learnWords, number, percent, setZone, time } from "/static/figures.js";
import { gateway } from "/static/gateway.js";
import { showModel } from "/static/models.js";
import { byId, fromTemplate, ICONS, iconOf, list, make, put } from "/static/nodes.js";
import { openRecent, openVerdict, speakSheet } from "/static/sheet.js";
import { chosen, fill, label, language, local, translate, words } from "/static/speech.js";
import { TEXTS } from "/static/texts.js";

const root = document.documentElement;
const SILENT_MS = 4000;
const RUNNING = new Set(["EXECUTE", "COMPLETING"]);
const DOWN = new Set(["STOPPED", "STOPPING", "ABORTED", "ABORTING", "HELD", "HOLDING", "CLEARING", "UNHOLDING"]);

let status = null;
let heard = 0;

function cookie(name) {
  return document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.split("=")[1] ?? null;
}

function keep(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`;
}

function uplinkKind(state) {
  if (state === "streaming") return "streaming";
  if (state === "not configured") return "unset";
  return state === "offline" ? "offline" : "connecting";
}

function showUplink() {
  const { uplink, store, now } = status;
  const kind = uplinkKind(uplink.state);
  byId("uplink").dataset.kind = kind;
  put(byId("uplink-word"), words.uplink[kind]);
  const age = kind === "streaming" ? uplink.last_receipt_age_s : uplink.since === null ? null : (now - uplink.since) / 1000;
  put(byId("uplink-why"), fill(words.uplinkWhy[kind], { age: duration(age) }));
  put(byId("offline"), number(status.judged_while_offline));
  put(byId("judged"), number(status.judged_total));
  put(
    byId("backlog"),
    store.waiting ? `${number(store.waiting)}${words.unit.gap}${words.facts} · ${duration(store.oldest_age_s)}` : words.none,
  );
  put(byId("autonomy"), store.autonomy_hours === null ? "–" : duration(store.autonomy_hours * 3600));
  put(byId("produced"), number(store.produced));
  put(byId("confirmed"), number(store.produced - store.waiting - store.lost));
  put(byId("waiting"), number(store.waiting));
  put(byId("lost-facts"), number(store.lost));
  put(byId("incarnation"), `${words.incarnation} ${status.incarnation.slice(0, 8)}`);
}

function showWarnings() {
  const list = byId("warnings");
  list.hidden = status.warnings.length === 0;
  const items = status.warnings.map(({ kind, text }) => {
    const item = document.createElement("li");
    item.lang = words.warning[kind] ? language : "en";
    item.textContent = words.warning[kind] ?? text;
    item.title = text;
    return item;
  });
  if (items.map((item) => item.textContent).join() !== [...list.children].map((item) => item.textContent).join()) list.replaceChildren(...items);
}

function showLine(node, line) {
  const [area, center, unit] = line.work_unit.split("/");
  put(node.querySelector(".where"), `${area} / ${center}`);
  put(node.querySelector("h2"), local(line.name) || `${center} ${unit}`);
  const tone = RUNNING.has(line.state) ? "run" : DOWN.has(line.state) ? "stop" : line.state === "UNDEFINED" ? "question" : "wait";
  node.dataset.tone = tone;
  node.querySelector(".state path").setAttribute("d", ICONS[tone]);
  put(node.querySelector(".state span"), label("state", line.state));
  const why = [line.reason && label("reason", line.reason), line.state_since && duration((status.now - line.state_since) / 1000)];
  put(node.querySelector(".why"), why.filter(Boolean).join(" · "));
  const decision = line.decision ?? "none";
  const verdict = node.querySelector(".verdict");
  verdict.dataset.decision = decision;
  verdict.disabled = !line.verdict;
  node.querySelector(".decision path").setAttribute("d", ICONS[iconOf(decision)]);
  put(node.querySelector(".decision span"), line.decision ? label("decision", line.decision) : words.notJudged);
  const said = [
    line.confidence !== null && line.confidence !== undefined && `${words.confidence} ${percent(line.confidence)}`,
    line.last_verdict && time(line.last_verdict),
  ];
  put(node.querySelector("small"), said.filter(Boolean).join(" · "));
  put(node.querySelector(".summary"), local(line.summary));
  const counters = line.counters ?? {};
  put(node.querySelector(".good"), number(counters.good ?? counters.produced));
  put(node.querySelector(".scrap"), number(counters.scrap));
  put(node.querySelector(".order"), line.order ?? words.none);
  put(node.querySelector(".product"), [line.product ?? "–", line.context_stale && `(${words.contextStale})`].filter(Boolean).join(" "));
  put(node.querySelector(".judged"), number(line.judged));
  showModel(node.querySelector(".model"), status.models.find((model) => model.work_unit === line.work_unit), status.acting.models_off);
}

function makeLine(line) {
  const node = fromTemplate("line");
  const now = () => status.lines.find((one) => one.work_unit === line.work_unit);
  node.querySelector(".verdict").addEventListener("click", () => openVerdict(now().verdict, now()));
  node.querySelector(".recent").addEventListener("click", () => openRecent(now()));
  return node;
}

function showSources() {
  list(
    byId("sources"),
    status.sources,
    (source) => source.name,
    () => {
      const node = document.createElement("li");
      node.innerHTML = '<span class="dot" aria-hidden="true"></span><strong></strong><span class="what"></span><span class="age"></span><small class="notes"></small>';
      return node;
    },
    (node, source) => {
      node.dataset.state = source.state;
      put(node.querySelector("strong"), source.name);
      const refused = source.bad_tags ? ` · ${source.bad_tags} ${words.badTags}` : "";
      put(node.querySelector(".what"), label("source", source.state) + (source.why ? `: ${source.why}` : "") + refused);
      const notes = Object.entries(source.notes ?? {}).map(([about, said]) => (about === "security" ? said : `${about}: ${said}`));
      put(node.querySelector(".notes"), notes.join(" · "));
      put(node.querySelector(".age"), `${words.data} ${duration(source.data_age_s)}`);
    },
  );
}

function show() {
  if (!status) return;
  put(byId("gateway"), status.gateway);
  document.title = `${status.gateway} · Triflow`;
  put(byId("clock"), time(status.now));
  showUplink();
  showWarnings();
  list(
    byId("lines"),
    status.lines,
    (line) => line.work_unit,
    makeLine,
    showLine,
  );
  byId("lines-none").hidden = status.lines.length > 0;
  showSources();
  showActing();
}

const trust = certificates({
  words: () => words,
  zone: () => status?.timezone,
  icons: ICONS,
  put,
  list,
});

function speak(name) {
  chosen(name);
  root.lang = name;
  translate(document);
  show();
  trust.show();
  speakSheet();
}

function stream(state) {
  document.body.dataset.stream = state;
  byId("lost").hidden = state !== "lost";
}

byId("language").addEventListener("click", () => {
  speak(language === "ko" ? "en" : "ko");
  keep("lang", language);
});
byId("theme").addEventListener("click", () => {
  const dark = root.dataset.theme === "dark" || (root.dataset.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
  keep("theme", root.dataset.theme);
});
if (["light", "dark"].includes(cookie("theme"))) root.dataset.theme = cookie("theme");
const asked = new URLSearchParams(location.search).get("lang");
speak(TEXTS[asked] ? asked : TEXTS[cookie("lang")] ? cookie("lang") : "ko");
learnWords().then(show, () => {}); // without them codes are shown as they are

const events = new EventSource("/api/stream");
events.addEventListener("status", (event) => {
  status = JSON.parse(event.data);
  gateway.status = status;
  setZone(status.timezone);
  if (!TEXTS[asked] && !cookie("lang") && status.language !== language) speak(status.language);
  heard = performance.now();
  stream("live");
  show();
  act();
});
events.addEventListener("error", () => stream("lost"));
setInterval(() => {
  if (heard && performance.now() - heard > SILENT_MS) stream("lost");
}, 1000);
