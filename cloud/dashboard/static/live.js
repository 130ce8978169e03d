// Live by the cloud's event stream. An `overview` event says that something changed; the server draws the page's
// fragment again (one place knows how things look) and the page takes over the difference.
import { children } from "./morph.js";
import { setClock } from "./ticks.js";
import { say } from "./words.js";

const EVERY_MS = 500; // at most this often
const QUIET_MS = 8000; // no event for so long: ask once by ourselves

const main = document.querySelector("main");
const announcer = document.getElementById("announcer");
const banner = document.getElementById("lost");
const word = document.getElementById("stream-word");
let announced = alarms();
let drawing = false;
let wanted = false;
let heard = performance.now();

function alarms() {
  return new Map([...document.querySelectorAll("[data-alarm]")].map((node) => [node.dataset.alarm, node]));
}

function show(state) {
  if (document.body.dataset.stream === state) return;
  document.body.dataset.stream = state;
  word.textContent = say(`app.${state}`);
  banner.hidden = state !== "lost";
  if (state === "lost") banner.textContent = say("app.lost_banner", { time: main.querySelector("[data-as-of]")?.dataset.clock ?? "" });
}

function announce() {
  const now = alarms();
  const fresh = [...now].filter(([name]) => !announced.has(name)).map(([, node]) => node);
  announced = now;
  if (fresh.length)
    announcer.textContent = fresh
      .map((node) => say("alarms.new", { line: node.dataset.line, text: node.querySelector(".said").textContent }))
      .join(" ");
}

async function draw() {
  if (document.hidden) return;
  if (drawing) {
    wanted = true;
    return;
  }
  drawing = true;
  wanted = false;
  try {
    const asked = location.search;
    const answer = await fetch(main.dataset.fragment + asked, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (asked === location.search) children(main, page.body); // else the reader asks something else by now
      setClock();
      announce();
      show("live");
    } else show("lost");
  } catch {
    show("lost"); // the cloud does not answer; the stream's own retry brings us back
  }
  setTimeout(() => {
    drawing = false;
    if (wanted) draw();
  }, Number(main.dataset.every ?? EVERY_MS));
}

function values(event) {
  const readings = JSON.parse(event.data);
  for (const node of document.querySelectorAll("[data-tag]")) {
    const reading = readings[node.dataset.tag];
    if (!reading) continue;
    const [value, status] = reading;
    node.textContent = typeof value === "number" ? Number(value.toPrecision(4)).toString() : String(value ?? "–");
    node.classList.toggle("doubtful", status >>> 30 !== 0);
  }
}

export function followStream() {
  const stream = new EventSource("/api/v1/stream");
  const alive = () => {
    heard = performance.now();
  };
  stream.addEventListener("open", () => {
    alive();
    draw();
  });
  stream.addEventListener("overview", () => {
    alive();
    draw();
  });
  stream.addEventListener("readings", (event) => {
    alive();
    values(event);
  });
  stream.addEventListener("error", () => show("lost"));
  setInterval(() => {
    if (performance.now() - heard > QUIET_MS && stream.readyState === EventSource.OPEN) {
      alive();
      draw();
    }
  }, 1000);
  document.addEventListener("visibilitychange", draw);
  document.addEventListener("triflow:changed", draw);
}
