// Ask for a report now, and go to it.
import { post } from "./refused.js";

const form = document.getElementById("make");
const told = document.getElementById("make-answer");
const tenant = new URLSearchParams(location.search).get("tenant");
const asked = tenant ? `?tenant=${encodeURIComponent(tenant)}` : "";

form.elements.by.value = localStorage.getItem("actor") ?? "";

form.elements.kind.addEventListener("change", () => {
  const kind = form.elements.kind.value;
  form.querySelector("[data-for=shift]").hidden = kind !== "shift";
  form.elements.business_date.value = form.dataset[kind];
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const order = Object.fromEntries(new FormData(form));
  if (order.kind === "week") order.shift = "";
  localStorage.setItem("actor", order.by);
  form.setAttribute("aria-busy", "true");
  told.hidden = true;
  try {
    const said = await (await post(`/api/v1/reports${asked}`, order)).json();
    location.assign(`/reports/${said.id}${asked}`);
  } catch (error) {
    told.hidden = false;
    told.textContent = error.message;
  } finally {
    form.removeAttribute("aria-busy");
  }
});
