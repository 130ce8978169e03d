// The model of a line: what it is, whether it answers, whether its inputs are still what it was trained on.
import { failure, figure } from "/static/figures.js";
import { put, rows } from "/static/nodes.js";
import { fill, label, local, words } from "/static/speech.js";

export function showModel(node, model, off) {
  const none = !model || model.state === "none";
  node.hidden = none;
  if (none) return;
  const tone = off ? "off" : model.state === "refused" || model.breaker === "open" || model.drift === "critical" ? "bad" : model.drift === "warning" || model.breaker === "half_open" ? "warn" : "ok";
  node.dataset.tone = tone;
  const name = local(model.title) || model.model.replaceAll("_", " ");
  put(node.querySelector(".name"), `${words.model} · ${name} ${model.version}`.trim());
  put(node.querySelector(".word"), off ? words.modelIsOff : model.breaker === "closed" || model.state !== "active" ? label("modelState", model.state) : label("breaker", model.breaker));
  const failures = Object.entries(model.failures).map(([kind, count]) => `${failure(kind)} × ${count.toLocaleString("en-US")}`);
  const drift = [label("drift", model.drift), model.alarmed.join(", ").replaceAll("_", " ")];
  rows(node.querySelector("dl"), [
    [words.modelStateIs, label("modelState", model.state)],
    [words.modelWhy, model.why],
    [words.breakerIs, label("breaker", model.breaker)],
    [words.driftIs, drift.filter(Boolean).join(": ")],
    [words.answersIn, model.p50_ms === null ? "" : fill(words.latency, { p50: figure(model.p50_ms), p99: figure(model.p99_ms) })],
    [words.asked, model.asked.toLocaleString("en-US")],
    [words.failures, failures.join(" · ") || words.none],
    [words.modelBefore, model.previous.join(", ")],
    [words.restarts, model.restarts || ""],
  ]);
}
