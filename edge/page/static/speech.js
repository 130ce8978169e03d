// Which language the page speaks, and how a word is found.
import { TEXTS } from "/static/texts.js";

export let language = "ko";
export let words = TEXTS.ko;

export function chosen(name) {
  language = name;
  words = TEXTS[name];
}

// The word for a code; a code without a word is shown as it is.
export function label(kind, code) {
  return words[kind][code] ?? String(code ?? "").replaceAll("_", " ");
}

// Of a text in several languages the one that is spoken, or any.
export function local(texts) {
  return texts?.[language] ?? Object.values(texts ?? {})[0] ?? "";
}

export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (hole, name) => values[name] ?? hole);
}

export function translate(scope) {
  for (const node of scope.querySelectorAll("[data-say]")) {
    if (node.textContent !== words[node.dataset.say]) node.textContent = words[node.dataset.say];
  }
  for (const node of scope.querySelectorAll("[data-say-label]")) node.setAttribute("aria-label", words[node.dataset.sayLabel]);
}
