// One verdict: is it the same when judged again, what if an input had been another, what would other rules say; and what
// people say of it. Everything here but a person's word is a dry run.
import { post } from "./refused.js";
import { say } from "./words.js";

const TYPING_MS = 300;
const percent = (ratio) => `${Math.round(ratio * 100)}%`;

async function ask(path, body) {
  return (await post(path, body)).json();
}

function show(node, tone, ...parts) {
  node.hidden = false;
  node.className = `answer ${tone}`;
  node.replaceChildren(
    ...parts.map((text) => {
      const line = document.createElement("span");
      line.textContent = text;
      return line;
    }),
  );
}

function difference(before, after) {
  const changed = before.decision !== after.decision;
  const key = changed ? "verdict.changes" : "verdict.stays";
  return [
    changed ? "changed" : "same",
    say(key, {
      from: say(`decision.${before.decision}`),
      to: say(`decision.${after.decision}`),
      before: percent(before.confidence),
      after: percent(after.confidence),
    }),
    after.summary[document.documentElement.lang] ?? after.summary.en ?? "",
  ];
}

const lacks = (names) => (names.length ? [say("verdict.lacks", { names: names.join(", ") })] : []);

function changes(form) {
  const found = {};
  for (const field of form.querySelectorAll("[data-input]")) {
    field.removeAttribute("aria-invalid");
    if (field.value === field.dataset.was) continue;
    const text = field.value.trim();
    if (field.dataset.kind === "number") {
      const number = Number(text.replace(",", "."));
      found[field.dataset.input] = text === "" ? null : Number.isNaN(number) ? text : number;
    } else found[field.dataset.input] = field.dataset.kind === "bool" ? text === "true" : text;
  }
  return found;
}

function startWhatIf(path, form) {
  const answer = document.getElementById("whatif-answer");
  let timer = 0;
  let newest = 0;
  async function judge() {
    const mine = ++newest;
    const overrides = changes(form);
    if (!Object.keys(overrides).length) {
      answer.hidden = true;
      return;
    }
    try {
      const said = await ask(path, { overrides });
      if (mine !== newest) return;
      const [imagined] = said.what_if;
      const stays = imagined.model === "recorded" ? [say("verdict.model_stays")] : [];
      show(answer, ...difference(imagined.original_result, imagined.what_if_result), ...stays, ...lacks(imagined.missing));
    } catch (error) {
      if (mine !== newest) return;
      const told = (error.fields ?? []).map((fault) => {
        const field = form.querySelector(`[data-input="${CSS.escape(fault.field.replace(/^overrides\./, ""))}"]`);
        field?.setAttribute("aria-invalid", "true");
        return `${field?.labels[0].textContent ?? fault.field}: ${fault.message}`;
      });
      show(answer, "failed", ...(told.length ? told : [error.message]));
    }
  }
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(judge, TYPING_MS);
  });
  form.addEventListener("reset", () => setTimeout(judge));
  form.addEventListener("submit", (event) => event.preventDefault());
}

function startCompare(path, form, original) {
  const answer = document.getElementById("compare-answer");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const [version] = (await ask(path, { rules: [form.elements.rules.value] })).versions;
      show(answer, ...difference(original, version.replay), ...lacks(version.missing));
    } catch (error) {
      show(answer, "failed", ...(error.fields?.length ? error.fields.map((fault) => fault.message) : [error.message]));
    }
  });
}

async function judgeAgain(path, node) {
  try {
    const said = await ask(path, {});
    const model = said.versions[0].model === "recomputed" ? say("verdict.exact_model") : say("verdict.exact");
    if (said.exact) show(node, "same", model, ...said.notes);
    else show(node, "failed", say("verdict.not_exact", { fields: said.differs.join(", ") }), ...said.notes);
  } catch (error) {
    show(node, "failed", error.message);
  }
}

function remembered(field) {
  if (!field) return;
  field.value ||= localStorage.getItem("actor") ?? "";
  field.addEventListener("change", () => localStorage.setItem("actor", field.value.trim()));
}

function startFeedback(id, form) {
  const answer = document.getElementById("feedback-answer");
  const { corrected, reason, actor } = form.elements;
  remembered(actor);
  form.addEventListener("change", () => {
    corrected.closest("label").hidden = form.elements.type.value !== "correction";
    reason.closest("label").hidden = form.elements.type.value !== "negative";
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const type = form.elements.type.value;
    const word = { target: id, type, actor: actor.value, comment: form.elements.comment.value };
    if (type === "correction") word.corrected = corrected.value;
    if (type === "negative" && reason.value) word.reason = reason.value;
    try {
      const said = await ask("/api/v1/feedback" + location.search, word);
      show(answer, "same", say("feedback.thanks", { gateway: said.gateway }));
    } catch (error) {
      show(answer, "failed", error.message);
    }
  });
}

function startActions() {
  const signer = document.getElementById("signer");
  const answer = document.getElementById("acts-answer");
  remembered(signer);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-approve], [data-reject]");
    if (!button) return;
    if (!signer.value.trim()) {
      signer.focus();
      show(answer, "failed", say("acts.who"));
      return;
    }
    const { approve, reject } = button.dataset;
    try {
      await ask(`/api/v1/actions/${encodeURIComponent(approve ?? reject)}/${approve ? "approve" : "reject"}` + location.search.replace(/[?&]state=\w+/, ""), { actor: signer.value });
      show(answer, "same", say("acts.asked"));
      for (const one of button.parentElement.querySelectorAll("button")) one.disabled = true;
    } catch (error) {
      show(answer, "failed", error.message);
    }
  });
}

export function startVerdict() {
  if (document.getElementById("signer")) startActions();
  const page = document.getElementById("verdict");
  if (!page) return;
  const { id, decision, confidence } = page.dataset;
  const path = `/api/v1/verdicts/${id}/replay`;
  const again = document.getElementById("again");
  if (again) judgeAgain(path, again);
  const whatIf = document.getElementById("whatif");
  if (whatIf) startWhatIf(path, whatIf);
  const compare = document.getElementById("compare");
  if (compare) startCompare(path, compare, { decision, confidence: Number(confidence) });
  startFeedback(id, document.getElementById("feedback"));
}
