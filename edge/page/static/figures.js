// Numbers, units and times as people write them, in the gateway's time zone.
import { get } from "/static/ask.js";
import { language, words } from "/static/speech.js";

let said = { unit: {}, why: {}, failure: {} };
let zone;

export function setZone(name) {
  zone = name;
}

// Words that the gateway's verdicts use themselves: units, why a value is bad, why a model has no answer.
export async function learnWords() {
  said = await get("/api/words");
}

const spoken = (kind, code) => said[kind][code]?.[language];
export const unit = (code) => (code ? (spoken("unit", code) ?? code) : "");
export const whyBad = (code) => spoken("why", code) ?? String(code).replaceAll("_", " ");

// `missing_input: vibration` in words.
export function failure(code) {
  const [kind, ...more] = String(code).split(":");
  const detail = more.join(":").trim();
  const word = words.failureMore[kind] ?? spoken("failure", kind) ?? kind.replaceAll("_", " ");
  return detail ? `${word}: ${detail}` : word;
}

export const number = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en-US"));

// No exponent, no digits that mean nothing: as the verdicts' own sentences write them.
export function figure(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return words.bool[value];
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e15 || size < 1e-4)) return value.toPrecision(3);
  const digits = size >= 10_000 ? 0 : size >= 1000 ? 1 : size >= 1 ? 2 : 4;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

export const measured = (value, code) => [figure(value), value === null || value === undefined ? "" : unit(code)].filter(Boolean).join(" ");

export const percent = (share) => `${Math.round(share * 100)}%`;

// The two largest units, as on the dashboard.
export function duration(seconds) {
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
    .map(([count, name]) => `${count}${words.unit.gap}${words.unit[name]}`)
    .join(" ");
}

export function time(ms) {
  return new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: zone }).format(ms);
}

export function moment(ms, style = { timeStyle: "medium" }) {
  return new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", ...style, timeZone: zone }).format(ms);
}
