// Nodes of the page: put text without touching what is the same, keep lists in their place, draw the few icons.
import { translate } from "/static/speech.js";

export const byId = (id) => document.getElementById(id);

export const ICONS = {
  run: "M4 2.500v11l9.500-5.500z",
  stop: "M3 3h10v10H3z",
  wait: "M3.500 3h3v10h-3zM9.500 3h3v10h-3z",
  check: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm-1.100 10.300L3.700 8.100l1.200-1.200 2 2 4.200-4.300 1.200 1.200z",
  triangle: "M8 1.300.800 14.200h14.400zM8.800 12.300H7.200v-1.600h1.600zm0-2.700H7.200V5.700h1.600z",
  octagon: "M5.100 1h5.800L15 5.100v5.800L10.900 15H5.100L1 10.900V5.100zm3.700 11.200v-1.700H7.200v1.700zm0-3V3.900H7.200v5.300z",
  question: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm.9 11.300H7.200v-1.700h1.700zm1.500-5.600c-.4.700-1.500 1.200-1.500 2.200v.5H7.200v-.7c0-1.900 1.800-2.100 1.800-3.200 0-.6-.4-.9-1-.9s-1.100.4-1.100 1.200H5.200c0-1.700 1.200-2.700 2.900-2.700 1.600 0 2.700.9 2.700 2.300 0 .5-.1.900-.4 1.300z",
  cross: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm3.300 9.100-1.200 1.200L8 9.200l-2.100 2.100-1.200-1.200L6.800 8 4.700 5.900l1.200-1.200L8 6.800l2.100-2.100 1.200 1.200L9.200 8z",
};
const DECISION_ICON = { normal: "check", ok: "check", warning: "triangle", critical: "octagon", unknown: "question" };

export function put(node, text) {
  if (node.textContent !== String(text)) node.textContent = String(text);
}

// Make a node: `li.some.class`, attributes, then children (texts or nodes).
export function make(kind, given = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(given)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export const iconOf = (decision) => DECISION_ICON[decision] ?? "wait";

export const fromTemplate = (id) => byId(id).content.firstElementChild.cloneNode(true);

// One node per item, kept and left in its place while the item stays, so that nothing flickers and focus is kept.
export function list(parent, items, key, makeOne, show) {
  const known = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  for (const item of items) known.delete(key(item));
  for (const node of known.values()) node.remove();
  const kept = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    let node = kept.get(key(item));
    if (!node) {
      node = makeOne(item);
      node.dataset.key = key(item);
      translate(node);
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    show(node, item);
  }
}

// Rows of a description list; what is empty is left out.
export function rows(place, pairs) {
  list(
    place,
    pairs.filter(([, text]) => text !== null && text !== undefined && text !== ""),
    ([name]) => name,
    () => make("div", {}, make("dt"), make("dd")),
    (node, [name, text]) => {
      put(node.querySelector("dt"), name);
      put(node.querySelector("dd"), text);
    },
  );
}
