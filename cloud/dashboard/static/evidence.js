// Why a verdict is what it is: a drawer with the server's drawing of its evidence.
export function openEvidence() {
  const drawer = document.getElementById("evidence");
  if (!drawer) return;
  const body = document.getElementById("evidence-body");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-verdict]");
    if (!button) return;
    body.replaceChildren();
    drawer.showModal();
    const answer = await fetch(`/fragments/verdicts/${encodeURIComponent(button.dataset.verdict)}`);
    body.replaceChildren(...new DOMParser().parseFromString(await answer.text(), "text/html").body.childNodes);
  });
  drawer.addEventListener("click", (event) => {
    if (event.target === drawer) drawer.close(); // the backdrop
  });
}
