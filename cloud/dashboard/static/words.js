// The few words scripts say, in the page's language; the page carries them.
const words = JSON.parse(document.getElementById("words").textContent);

export const known = (key) => key in words;

export function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
