// Acknowledge an alert; add, change or remove a watch. Ratios are written in per cent and sent as 0 to 1.
import { request } from "./refused.js";

const dialogs = Object.fromEntries(["watch", "gone", "seen"].map((id) => [id, document.getElementById(id)]));
const forms = Object.fromEntries(Object.keys(dialogs).map((id) => [id, document.getElementById(`${id}-form`)]));
const watchForm = forms.watch;
const tenant = new URLSearchParams(location.search).get("tenant");
const FIELDS = { for_s: "minutes", site: "place", work_unit: "place" }; // where the form calls them otherwise
let target = null; // the watch or the alert that a dialog is about

async function send(path, method, body) {
  const said = await request(path + (tenant ? `${path.includes("?") ? "&" : "?"}tenant=${encodeURIComponent(tenant)}` : ""), {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  return said.json();
}

function tell(id, text) {
  const told = document.getElementById(id);
  told.hidden = false;
  told.textContent = text;
  told.scrollIntoView({ block: "nearest" });
}

function done(name) {
  dialogs[name].close();
  const told = document.getElementById("desk-answer");
  tell(told.id, told.dataset.done);
  document.dispatchEvent(new Event("triflow:changed"));
}

function clear(name) {
  document.getElementById(`${name}-answer`).hidden = true;
  for (const field of forms[name].querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  const reload = forms[name].querySelector("[data-reload]");
  if (reload) reload.hidden = true;
}

function open(name) {
  clear(name);
  forms[name].elements.by.value ||= localStorage.getItem("actor") ?? "";
  dialogs[name].showModal();
}

async function failed(name, error) {
  const told = document.getElementById(`${name}-answer`);
  if (error.status === 409 && target?.changed) {
    const now = await send(`/api/v1/watches/${target.id}`, "GET").catch(() => null);
    tell(told.id, told.dataset[now ? "conflict" : "gone"].replace("{by}", now?.changed_by));
    const reload = forms[name].querySelector("[data-reload]");
    if (reload && now) reload.hidden = false;
    else target = now ?? target; // to remove it all the same is said once more
    return;
  }
  tell(told.id, error.status === 404 && target?.changed ? told.dataset.gone : error.message);
  const wrong = error.fields?.map((one) => one.field.split(".")[0]).map((field) => forms[name].elements[FIELDS[field] ?? field]);
  for (const field of wrong?.filter(Boolean) ?? []) field.setAttribute("aria-invalid", "true");
  wrong?.find(Boolean)?.focus();
}

function scale() {
  const { against, level, metric } = watchForm.elements;
  level.disabled = against.value !== "value";
  level.required = !level.disabled;
  return metric.selectedOptions[0]?.dataset.unit === "1" ? 100 : 1;
}

const shown = (value, by) => (value === null ? "" : Number((value * by).toPrecision(12)));

function fill(watch) {
  target = watch;
  watchForm.reset();
  watchForm.elements.by.value = localStorage.getItem("actor") ?? "";
  const changing = watch !== null;
  const title = document.getElementById("watch-title");
  title.textContent = changing ? title.dataset.old : title.dataset.new;
  for (const part of watchForm.querySelectorAll("[data-changing]")) part.hidden = !changing;
  if (!changing) return scale();
  const fields = watchForm.elements;
  for (const name of ["name", "metric", "side", "against", "period", "min_pieces", "min_minutes", "severity", "language"])
    fields[name].value = watch[name];
  for (const name of ["in_shift", "enabled"]) fields[name].checked = watch[name];
  fields.place.value = `${watch.site}|${watch.work_unit}`;
  fields.minutes.value = shown(watch.for_s, 1 / 60);
  fields.readers.value = watch.readers.join(", ");
  const by = scale();
  fields.level.value = watch.against === "value" ? shown(watch.level, by) : "";
  fields.margin.value = shown(watch.margin, by);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { seen, change, remove, add, close, reload } = button.dataset;
  if (close !== undefined) button.closest("dialog").close();
  if (add !== undefined) {
    fill(null);
    open("watch");
  }
  if (seen) {
    target = { id: seen };
    document.getElementById("seen-what").textContent = button.closest("li").querySelector(".say").textContent;
    open("seen");
  }
  if (!change && !remove && reload === undefined) return;
  try {
    const watch = await send(`/api/v1/watches/${change ?? remove ?? target.id}`, "GET"); // as it is now
    if (remove) {
      target = watch;
      document.getElementById("gone-what").textContent = watch.name;
      open("gone");
    } else {
      fill(watch);
      if (change) open("watch");
      else clear("watch");
      watchForm.elements.name.focus();
    }
  } catch (error) {
    tell(reload === undefined ? "desk-answer" : "watch-answer", error.message);
  }
});

watchForm.addEventListener("change", scale);

watchForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear("watch");
  const said = Object.fromEntries(new FormData(watchForm));
  const [site, work_unit] = said.place.split("|");
  const by = scale();
  localStorage.setItem("actor", said.by);
  const order = {
    name: said.name,
    metric: said.metric,
    site,
    work_unit,
    period: said.period,
    against: said.against,
    side: said.side,
    margin: Number(said.margin || 0) / by,
    for_s: Math.round(Number(said.minutes) * 60),
    min_pieces: Number(said.min_pieces),
    min_minutes: Number(said.min_minutes),
    in_shift: said.in_shift === "on",
    severity: said.severity,
    readers: said.readers.split(/[,;\s]+/).filter(Boolean),
    language: said.language,
    enabled: target === null || said.enabled === "on",
    by: said.by,
  };
  if (said.against === "value") order.level = Number(said.level) / by;
  if (target) order.changed = target.changed;
  try {
    await send(target ? `/api/v1/watches/${target.id}` : "/api/v1/watches", target ? "PUT" : "POST", order);
    done("watch");
  } catch (error) {
    await failed("watch", error);
  }
});

forms.gone.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear("gone");
  const by = forms.gone.elements.by.value;
  localStorage.setItem("actor", by);
  try {
    const asked = new URLSearchParams({ by, changed: target.changed });
    await send(`/api/v1/watches/${target.id}?${asked}`, "DELETE");
    done("gone");
    document.querySelector("main [data-add]").focus(); // the button it came from goes with its row
  } catch (error) {
    await failed("gone", error);
  }
});

forms.seen.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear("seen");
  const { by, note } = Object.fromEntries(new FormData(forms.seen));
  localStorage.setItem("actor", by);
  const hush = event.submitter?.value === "hush";
  try {
    await send(`/api/v1/alerts/${target.id}/${hush ? "silence" : "acknowledge"}`, "POST", hush ? { by, minutes: 60 } : { by, note });
    done("seen");
  } catch (error) {
    await failed("seen", error);
  }
});
