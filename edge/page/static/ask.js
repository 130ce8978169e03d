// Asking the gateway: what it says no with in words, and the page's key where it wants one.
import { byId, put } from "/static/nodes.js";
import { fill, words } from "/static/speech.js";

// The key stays in this tab and goes with it.
let key = sessionStorage.getItem("key");

export class RefusedError extends Error {
  constructor(status, error) {
    super(error?.message ?? String(status));
    this.status = status;
    this.code = error?.code ?? "";
    this.fields = error?.fields ?? [];
  }
}

async function answered(asking) {
  let answer;
  try {
    answer = await asking();
  } catch {
    throw new RefusedError(0, { message: "" });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new RefusedError(answer.status, body.error);
  return body;
}

export const get = (path) => answered(() => fetch(path));

export async function post(path, body) {
  for (let wrong = false; ; wrong = true) {
    const headers = { "Content-Type": "application/json", "X-Triflow": "page", ...(key && { "X-Triflow-Key": key }) };
    try {
      const done = await answered(() => fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
      if (key) sessionStorage.setItem("key", key);
      return done;
    } catch (error) {
      if (error.status !== 401) throw error;
      const given = await askKey(wrong || key !== null);
      sessionStorage.removeItem("key");
      key = given;
      if (given === null) throw error;
    }
  }
}

// Why something was refused: a sentence of ours, then what the gateway said.
export function inWords(error) {
  const ours = error.code && words.refused[error.code] ? words.refused[error.code] : words.refused[error.status];
  const own = ours ?? words.refused.other;
  return fill(own, { why: error.message ?? "" });
}

function askKey(wrong) {
  const dialog = byId("key");
  const field = byId("key-field");
  byId("key-wrong").hidden = !wrong;
  put(byId("key-wrong"), wrong ? words.keyWrong : "");
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given" && field.value ? field.value : null), { once: true });
  });
}
