// Ask the API; what it refuses is said in the page's language: by the field it names, else by its code, else in its words.
import { known, say } from "./words.js";

const CODES = { CONFLICT: "refused.conflict", NOT_FOUND: "refused.not_found", SERVICE_UNAVAILABLE: "refused.away" };
const TECHNICAL = /\/(api|openapi)/; // advice for who writes programs

function sentence({ code, message, check }, fields) {
  const keys = fields.map((one) => `refused.${one.field.split(".")[0]}`).filter(known);
  if (!keys.length && CODES[code]) keys.push(CODES[code]);
  if (keys.length) return [...new Set(keys)].map((key) => say(key, { why: message })).join(" ");
  return !check || TECHNICAL.test(check) ? message : `${message}; ${check}`;
}

export async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error(say("refused.network"));
  }
}

export async function request(path, options) {
  const answer = await reach(path, options);
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({})); // of something between us and the cloud
  const fields = error?.fields ?? [];
  const told = error ? sentence(error, fields) : say("refused.away", { why: answer.status });
  throw Object.assign(new Error(told), { status: answer.status, fields });
}

export const post = (path, body) =>
  request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
