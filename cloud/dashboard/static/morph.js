// Make the live tree look like the new one while keeping what the reader holds: focus, scroll, open details.

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE && node.id ? node.id : null;
}

function attributes(from, to) {
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) {
    // An opened <details> and a busy button are the reader's doing, not the server's.
    if (!to.hasAttribute(name) && name !== "open" && name !== "aria-busy") from.removeAttribute(name);
  }
}

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);
}

export function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.dataset?.kept !== undefined) return; // what a script said there is not unsaid by the next drawing
  attributes(from, to);
  children(from, to);
}

export function children(from, to) {
  const keyed = new Map();
  for (const child of from.children) if (key(child)) keyed.set(key(child), child);
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const known = key(wanted) && keyed.get(key(wanted));
    if (known && known.nodeName === wanted.nodeName) {
      if (known === place) place = place.nextSibling;
      else from.insertBefore(known, place);
      morph(known, wanted);
    } else if (place && same(place, wanted)) {
      const next = place.nextSibling;
      morph(place, wanted);
      place = next;
    } else {
      from.insertBefore(document.importNode(wanted, true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}
