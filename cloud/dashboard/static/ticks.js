// Durations count on by themselves between two updates, by the server's clock and the server's rule (formats.duration).
import { say } from "./words.js";

let offset = 0; // this machine's clock minus the server's, ms

export function duration(seconds) {
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
    .map(([count, unit]) => `${count}${say("unit.gap")}${say(`unit.${unit}`)}`)
    .join(" ");
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClock() {
  const asOf = document.querySelector("[data-as-of]");
  if (asOf) offset = Date.now() - Date.parse(asOf.dataset.asOf);
}

function tick() {
  const now = Date.now() - offset;
  const { late, stale } = document.body.dataset;
  for (const node of document.querySelectorAll("[data-since]")) put(node, duration((now - Date.parse(node.dataset.since)) / 1000));
  for (const node of document.querySelectorAll("[data-age-of]")) {
    const age = (now - Date.parse(node.dataset.ageOf)) / 1000;
    node.className = `age ${age <= Number(late) ? "fresh" : age <= Number(stale) ? "late" : "stale"}`;
  }
}

export function startClock() {
  setClock();
  setInterval(tick, 1000);
}
