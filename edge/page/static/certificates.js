// Certificates: who waits for approval, who is trusted, and a decision in two steps. Asks the gateway every few seconds.
const byId = (id) => document.getElementById(id);
const ASK_MS = 5000;

const spaced = (thumbprint) => thumbprint.replace(/(.{4})(?=.)/g, "$1 ");

export function certificates({ words, zone, icons, put, list }) {
  let told = null;

  function moment(ms, style) {
    return new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", ...style, timeZone: zone() }).format(ms);
  }

  function ends(one) {
    const date = moment(one.ends);
    if (one.level === "expired") return `${date} · ${words().expired}`;
    return one.level === "ok" ? date : `${date} · ${words().daysLeft.replace("{n}", one.days_left)}`;
  }

  function row(node, name, text) {
    const place = node.querySelector(`.${name}`);
    place.hidden = !text;
    put(place.querySelector("dd"), text ?? "");
  }

  function showOne(state) {
    return (node, one) => {
      const said = words();
      const waits = state === "quarantine";
      node.querySelector(".reason").hidden = !waits;
      node.querySelector(".reason path").setAttribute("d", icons[one.reason === "unknown" ? "question" : "triangle"]);
      put(node.querySelector(".reason span"), said.certificateReason[one.reason] ?? "");
      put(node.querySelector("h4"), one.subject);
      const where = one.connections?.join(", ") || (one.authority ? said.authority : said.anyConnection);
      row(node, "source", state === "own" || state === "vouched" ? null : one.url ? `${where} · ${one.url}` : where);
      row(node, "uri", one.application_uri);
      row(node, "ends", ends(one));
      node.querySelector(".ends").dataset.level = one.level;
      row(node, "seen", waits && one.seen ? moment(one.seen, { timeStyle: "short" }) : null);
      row(node, "decided", one.decided ? `${moment(one.decided, { timeStyle: "short" })} · ${one.by}` : null);
      row(node, "sha256", spaced(one.thumbprint));
      row(node, "sha1", waits || state === "own" ? spaced(one.sha1) : null);
      row(node, "replaces", waits && one.replaces ? spaced(one.replaces) : null);
      const may = told.may_decide && node.querySelector(".sure").hidden;
      node.querySelector(".approve").hidden = !may || !(waits || state === "rejected");
      node.querySelector(".reject").hidden = !may || !(waits || state === "trusted");
      node.querySelector(".remove").hidden = !may || !(state === "trusted" || state === "rejected");
      const download = node.querySelector(".download");
      download.hidden = state !== "own";
      if (state === "own") download.href = `/api/certificates/own/${one.thumbprint}.der`;
    };
  }

  function make(state) {
    return () => {
      const node = byId("certificate").content.firstElementChild.cloneNode(true);
      const sure = node.querySelector(".sure");
      for (const what of ["approve", "reject", "remove"]) {
        node.querySelector(`.${what}`).addEventListener("click", () => {
          sure.dataset.what = what;
          put(sure.querySelector("p"), words().sure[what]);
          put(sure.querySelector(".yes"), words().yes[what]);
          sure.hidden = false;
          show();
          sure.querySelector(".no").focus();
        });
      }
      sure.querySelector(".no").addEventListener("click", () => {
        sure.hidden = true;
        show();
        node.querySelector(`.${sure.dataset.what}`).focus();
      });
      sure.querySelector(".yes").addEventListener("click", () => decide(node.dataset.key, sure));
      return node;
    };
  }

  async function decide(thumbprint, sure) {
    for (const button of sure.querySelectorAll("button")) button.disabled = true;
    try {
      await ask(`/api/certificates/${thumbprint}/${sure.dataset.what}`, { method: "POST", headers: { "X-Triflow": "page" } });
      sure.hidden = true;
      complain("");
    } catch (error) {
      complain(words().notDone.replace("{why}", error.message));
    } finally {
      for (const button of sure.querySelectorAll("button")) button.disabled = false;
      show();
    }
  }

  function complain(text) {
    byId("certificates-fault").hidden = !text;
    put(byId("certificates-fault"), text);
  }

  function show() {
    const card = byId("certificates");
    card.hidden = !told?.needed;
    if (card.hidden) return;
    const said = words();
    const waiting = told.quarantine.length;
    const { ending } = told;
    card.dataset.waiting = waiting || ending ? "yes" : "no";
    const sum = waiting ? said.certificatesSum.some.replace("{n}", waiting) : said.certificatesSum.none;
    put(byId("certificates-sum"), ending ? `${sum} ${said.certificatesEnding}` : sum);
    byId("known").hidden = ["own", "trusted", "vouched", "rejected"].every((state) => told[state].length === 0);
    byId("elsewhere").hidden = told.may_decide || byId("known").hidden && waiting === 0;
    for (const state of ["quarantine", "own", "trusted", "vouched", "rejected"]) {
      list(byId(state), told[state], (one) => one.thumbprint, make(state), showOne(state));
      const title = byId(state).previousElementSibling;
      if (state !== "quarantine") title.hidden = told[state].length === 0;
    }
    for (const node of document.querySelectorAll(".certificate .sure:not([hidden])")) {
      put(node.querySelector("p"), said.sure[node.dataset.what]);
      put(node.querySelector(".yes"), said.yes[node.dataset.what]);
    }
  }

  async function ask(path, options) {
    const answer = await fetch(path, options);
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error?.message ?? answer.status);
    told = body;
  }

  async function keepAsking() {
    try {
      await ask("/api/certificates");
      show();
    } catch {
      // The page's own stream says that the gateway is gone; here the last list stays.
    }
    setTimeout(keepAsking, told?.needed === false ? 12 * ASK_MS : ASK_MS);
  }

  keepAsking();
  return { show };
}
