// Acknowledge an alert; add or remove a watch. Ratios are written in per cent and sent as 0 to 1.
const answer = () => document.getElementById("desk-answer");
const watch = document.getElementById("watch");
const watchForm = document.getElementById("watch-form");
const seen = document.getElementById("seen");
const seenForm = document.getElementById("seen-form");
const tenant = new URLSearchParams(location.search).get("tenant");
const asked = tenant ? `?tenant=${encodeURIComponent(tenant)}` : "";
let target = "";

async function send(path, method, body) {
  const said = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  const json = await said.json();
  if (!said.ok) throw new Error(`${json.error.message}; ${json.error.check}`);
  return json;
}

function done() {
  const told = answer();
  told.hidden = false;
  told.textContent = told.dataset.done;
  document.dispatchEvent(new Event("triflow:changed"));
}

function failed(id, error) {
  const told = document.getElementById(id);
  told.hidden = false;
  told.textContent = error.message;
}

function open(dialog, form, told) {
  document.getElementById(told).hidden = true;
  form.elements.by.value ||= localStorage.getItem("actor") ?? "";
  dialog.showModal();
}

function levels() {
  const { against, level, margin, metric } = watchForm.elements;
  const ratio = metric.selectedOptions[0].dataset.unit === "1";
  level.disabled = against.value !== "value";
  level.required = !level.disabled;
  return ratio ? 100 : 1;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-seen], [data-add], [data-remove], [data-close]");
  if (!button) return;
  if ("close" in button.dataset) button.closest("dialog").close();
  if ("add" in button.dataset) {
    open(watch, watchForm, "watch-answer");
    levels();
  }
  if (button.dataset.seen) {
    target = button.dataset.seen;
    document.getElementById("seen-what").textContent = button.closest("li").querySelector(".say").textContent;
    open(seen, seenForm, "seen-answer");
  }
  if (button.dataset.remove && confirm(`${button.textContent}?`)) {
    const by = encodeURIComponent(localStorage.getItem("actor") ?? "page");
    try {
      await send(`/api/v1/watches/${button.dataset.remove}?by=${by}${asked.replace("?", "&")}`, "DELETE");
      done();
    } catch (error) {
      failed("desk-answer", error);
    }
  }
});

watchForm.addEventListener("change", levels);

watchForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = Object.fromEntries(new FormData(watchForm));
  const [site, work_unit] = said.place.split("|");
  const by = levels();
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
    by: said.by,
  };
  if (said.against === "value") order.level = Number(said.level) / by;
  try {
    await send(`/api/v1/watches${asked}`, "POST", order);
    watch.close();
    watchForm.reset();
    done();
  } catch (error) {
    failed("watch-answer", error);
  }
});

seenForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { by, note } = Object.fromEntries(new FormData(seenForm));
  localStorage.setItem("actor", by);
  try {
    if (event.submitter?.value === "hush") await send(`/api/v1/alerts/${target}/silence${asked}`, "POST", { by, minutes: 60 });
    else await send(`/api/v1/alerts/${target}/acknowledge${asked}`, "POST", { by, note });
    seen.close();
    done();
  } catch (error) {
    failed("seen-answer", error);
  }
});
