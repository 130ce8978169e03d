// The gateway's own page: what the box says once a second, for the people at the line. Needs nothing but the box.
import { certificates } from "/static/certificates.js";
import { TEXTS } from "/static/texts.js";

const byId = (id) => document.getElementById(id);
const root = document.documentElement;
const SILENT_MS = 4000;
const ICONS = {
  run: "M4 2.500v11l9.500-5.500z",
  stop: "M3 3h10v10H3z",
  wait: "M3.500 3h3v10h-3zM9.500 3h3v10h-3z",
  check: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm-1.100 10.300L3.700 8.100l1.200-1.200 2 2 4.200-4.300 1.200 1.200z",
  triangle: "M8 1.300.800 14.200h14.400zM8.800 12.300H7.200v-1.600h1.600zm0-2.700H7.200V5.700h1.600z",
  octagon: "M5.100 1h5.800L15 5.100v5.800L10.900 15H5.100L1 10.900V5.100zm3.700 11.200v-1.700H7.200v1.700zm0-3V3.900H7.200v5.300z",
  question: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm.9 11.300H7.200v-1.700h1.700zm1.500-5.600c-.4.700-1.500 1.200-1.500 2.200v.5H7.200v-.7c0-1.900 1.800-2.100 1.800-3.200 0-.6-.4-.9-1-.9s-1.100.4-1.100 1.200H5.200c0-1.700 1.200-2.700 2.900-2.700 1.600 0 2.700.9 2.700 2.300 0 .5-.1.900-.4 1.300z",
};
const DECISION_ICON = { normal: "check", warning: "triangle", critical: "octagon", unknown: "question" };
const RUNNING = new Set(["EXECUTE", "COMPLETING"]);
const DOWN = new Set(["STOPPED", "STOPPING", "ABORTED", "ABORTING", "HELD", "HOLDING", "CLEARING", "UNHOLDING"]);

let language = cookie("lang");
let words = TEXTS[language] ?? TEXTS.ko;
let status = null;
let heard = 0;

function cookie(name) {
  return document.cookie.split("; ").find((part) => part.startsWith(`${name}=`))?.split("=")[1] ?? null;
}

function keep(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`;
}

function put(node, text) {
  if (node.textContent !== String(text)) node.textContent = String(text);
}

function label(kind, code) {
  return words[kind][code] ?? String(code ?? "").replaceAll("_", " ");
}

const number = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en-US"));

// The two largest units, as on the dashboard.
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(whole / 86400), "day"],
    [Math.floor((whole % 86400) / 3600), "hour"],
    [Math.floor((whole % 3600) / 60), "minute"],
    [whole % 60, "second"],
  ];
  let first = parts.findIndex(([count]) => count > 0);
  if (first < 0) first = 3;
  return parts
    .slice(first, first + 2)
    .filter(([count], place) => count > 0 || place === 0)
    .map(([count, unit]) => `${count}${words.unit.gap}${words.unit[unit]}`)
    .join(" ");
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
  put(byId("uplink-why"), words.uplinkWhy[kind].replace("{age}", duration(age)));
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
  put(node.querySelector("h2"), line.name?.[language] ?? `${center} ${unit}`);
  const tone = RUNNING.has(line.state) ? "run" : DOWN.has(line.state) ? "stop" : line.state === "UNDEFINED" ? "question" : "wait";
  node.dataset.tone = tone;
  node.querySelector(".state path").setAttribute("d", ICONS[tone]);
  put(node.querySelector(".state span"), label("state", line.state));
  const why = [line.reason && label("reason", line.reason), line.state_since && duration((status.now - line.state_since) / 1000)];
  put(node.querySelector(".why"), why.filter(Boolean).join(" · "));
  const decision = line.decision ?? "none";
  node.querySelector(".verdict").dataset.decision = decision;
  node.querySelector(".decision path").setAttribute("d", ICONS[DECISION_ICON[decision] ?? "wait"]);
  put(node.querySelector(".decision span"), line.decision ? label("decision", line.decision) : words.notJudged);
  const said = [
    line.confidence !== null && line.confidence !== undefined && `${words.confidence} ${Math.round(line.confidence * 100)}%`,
    line.last_verdict && time(line.last_verdict),
  ];
  put(node.querySelector("small"), said.filter(Boolean).join(" · "));
  put(node.querySelector(".summary"), line.summary?.[language] ?? Object.values(line.summary ?? {})[0] ?? "");
  const counters = line.counters ?? {};
  put(node.querySelector(".good"), number(counters.good ?? counters.produced));
  put(node.querySelector(".scrap"), number(counters.scrap));
  put(node.querySelector(".order"), line.order ?? words.none);
  put(node.querySelector(".product"), [line.product ?? "–", line.context_stale && `(${words.contextStale})`].filter(Boolean).join(" "));
  put(node.querySelector(".judged"), number(line.judged));
}

function time(ms) {
  return new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: status.timezone }).format(ms);
}

// One node per item, kept and left in its place while the item stays, so that nothing flickers and focus is kept.
function list(parent, items, key, make, show) {
  const known = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  for (const item of items) known.delete(key(item));
  for (const node of known.values()) node.remove();
  const kept = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    let node = kept.get(key(item));
    if (!node) {
      node = make();
      node.dataset.key = key(item);
      translate(node);
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    show(node, item);
  }
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
    () => byId("line").content.firstElementChild.cloneNode(true),
    showLine,
  );
  showSources();
}

const trust = certificates({
  words: () => words,
  zone: () => status?.timezone,
  icons: ICONS,
  put,
  list,
});

function translate(scope) {
  for (const node of scope.querySelectorAll("[data-say]")) put(node, words[node.dataset.say]);
  for (const node of scope.querySelectorAll("[data-say-label]")) node.setAttribute("aria-label", words[node.dataset.sayLabel]);
}

function speak(chosen) {
  language = chosen;
  words = TEXTS[chosen];
  root.lang = chosen;
  translate(document);
  show();
  trust.show();
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
speak(TEXTS[asked] ? asked : TEXTS[language] ? language : "ko");

const events = new EventSource("/api/stream");
events.addEventListener("status", (event) => {
  status = JSON.parse(event.data);
  if (!TEXTS[asked] && !cookie("lang") && status.language !== language) speak(status.language);
  heard = performance.now();
  stream("live");
  show();
});
events.addEventListener("error", () => stream("lost"));
setInterval(() => {
  if (heard && performance.now() - heard > SILENT_MS) stream("lost");
}, 1000);
