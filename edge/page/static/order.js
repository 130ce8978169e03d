// One dialog for every order: what, for what, who, why; it stays open until the gateway has said yes or somebody gave up.
import { inWords } from "/static/ask.js";
import { byId, list, make, put } from "/static/nodes.js";
import { remember, remembered } from "/static/person.js";
import { words } from "/static/speech.js";

let sending = null;

// groups: [{name, legend, options: [{value, label, hint}], chosen}]; reason: {label, least}; send({actor, reason, …groups}).
export function order({ title, text, yes, danger = false, groups = [], reason, send }) {
  const dialog = byId("order");
  sending = { send, least: reason?.least ?? 0, groups };
  put(byId("order-title"), title);
  put(byId("order-text"), text);
  put(byId("order-yes"), yes);
  byId("order-yes").classList.toggle("danger", danger);
  list(byId("order-groups"), groups, (group) => `${group.name} ${group.legend}`, () => make("fieldset"), showGroup);
  byId("order-reason").closest("label").hidden = !reason;
  put(byId("order-reason-label"), reason?.label ?? "");
  byId("order-reason").value = "";
  byId("order-name").value = remembered();
  complain("");
  dialog.showModal();
  if (!byId("order-name").value) byId("order-name").focus();
  else if (groups.length) dialog.querySelector("input[type=radio]:checked")?.focus();
  else byId("order-title").focus();
}

function showGroup(node, group) {
  node.replaceChildren(
    make("legend", {}, group.legend),
    ...group.options.map((option) =>
      make(
        "label.choice",
        {},
        make("input", { type: "radio", name: group.name, value: option.value, checked: option.value === group.chosen }),
        make("span", {}, make("strong", {}, option.label), option.hint ? make("small", {}, option.hint) : ""),
      ),
    ),
  );
}

function complain(text) {
  byId("order-fault").hidden = !text;
  put(byId("order-fault"), text);
}

async function give(event) {
  event.preventDefault();
  const actor = byId("order-name").value.trim();
  const reason = byId("order-reason").value.trim();
  if (!actor) return lacking("order-name", words.nameNeeded);
  if (reason.length < sending.least) return lacking("order-reason", words.reasonNeeded);
  remember(actor);
  const given = { actor, reason };
  for (const { name } of sending.groups) given[name] = byId("order").querySelector(`input[name="${name}"]:checked`)?.value ?? "";
  const buttons = [...byId("order").querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  complain("");
  try {
    await sending.send(given);
    byId("order").close();
  } catch (error) {
    complain(inWords(error));
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

function lacking(id, text) {
  complain(text);
  byId(id).focus();
}

byId("order-form").addEventListener("submit", give);
byId("order-no").addEventListener("click", () => byId("order").close());
