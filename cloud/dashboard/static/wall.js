// The wall display. Nobody touches it and nobody restarts it: one clock, one request at a time, one list of nothing that
// grows. What is old says so loudly. The picture wanders by a few pixels, so that nothing burns in.
import { children } from "./morph.js";
import { say } from "./words.js";

const EVERY_MS = 2000; // drawn anew at most this often
const OLD_MS = 10_000; // without an answer for so long the picture is old
const RENEW_MS = 6 * 3_600_000; // a page of a new version or this old loads itself anew, while the cloud answers
const WANDER_MS = 60_000;
const PLACES = 9;

const main = document.getElementById("wall");
const stale = document.getElementById("stale");
const since = document.getElementById("stale-since");
const hold = document.getElementById("hold");
const { seconds, version } = document.body.dataset;
const born = performance.now();

let scene = 0;
let turned = performance.now();
let heard = performance.now();
let asked = -EVERY_MS;
let drawing = false;
let wanted = false;
let held = false;
let stream = null;

const scenes = () => [...main.querySelectorAll("[data-scene]")];

function show() {
  const all = scenes();
  scene %= Math.max(all.length, 1);
  all.forEach((one, place) => {
    one.hidden = place !== scene;
  });
  const name = all[scene]?.dataset.scene;
  for (const dot of main.querySelectorAll("[data-dot]")) dot.classList.toggle("on", dot.dataset.dot === name);
}

async function draw(now) {
  drawing = true;
  asked = now;
  wanted = false;
  try {
    const answer = await fetch(main.dataset.fragment + location.search, {
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(OLD_MS),
    });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const known = scenes()[scene]?.id;
    children(main, page.body);
    const place = scenes().findIndex((one) => one.id === known);
    if (place >= 0) scene = place;
    heard = performance.now();
    document.body.dataset.stream = "live";
    show();
    const newer = main.querySelector("[data-as-of]").dataset.version !== version;
    if (newer || heard - born > RENEW_MS) location.reload();
  } catch {
    document.body.dataset.stream = "lost";
  }
  drawing = false;
}

function follow() {
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  stream?.close();
  stream = new EventSource("/api/v1/stream");
  stream.addEventListener("overview", () => {
    wanted = true;
  });
}

function span(ms) {
  const whole = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(whole / 86_400), Math.floor((whole % 86_400) / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const units = ["day", "hour", "minute", "second"];
  const first = parts.findIndex((count) => count > 0);
  const from = first < 0 ? 3 : first;
  return parts
    .slice(from, from + 2)
    .map((count, at) => `${count}${say("unit.gap")}${say(`unit.${units[from + at]}`)}`)
    .join(" ");
}

function tick() {
  const now = performance.now();
  const old = now - heard > OLD_MS;
  stale.hidden = !old;
  if (old) {
    const { clock } = main.querySelector("[data-as-of]").dataset; // the plant's, whatever zone this screen is set to
    since.textContent = say("wall.since", { time: clock, age: span(now - heard) });
    document.body.dataset.stream = "lost";
  }
  if (!drawing && (wanted || now - asked > 3 * EVERY_MS) && now - asked >= EVERY_MS) draw(now);
  if (!held && now - turned >= Number(seconds) * 1000) {
    turned = now;
    scene += 1;
    show();
  }
  for (const node of main.querySelectorAll("[data-since]"))
    node.textContent = span(Date.now() - Date.parse(node.dataset.since));
  document.body.dataset.place = String(Math.floor(now / WANDER_MS) % PLACES);
  follow();
}

hold.addEventListener("click", () => {
  held = !held;
  hold.setAttribute("aria-pressed", String(held));
});
document.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  scene += step + scenes().length;
  turned = performance.now();
  show();
});

show();
tick();
setInterval(tick, 1000);
navigator.wakeLock?.request("screen").catch(() => {}); // a screen that may not be kept awake stays a picture all the same
