// Who speaks at this screen: a name typed once and remembered in this browser.
const NAME = "triflow.name";

export const remembered = () => localStorage.getItem(NAME) ?? "";

export function remember(name) {
  localStorage.setItem(NAME, name);
}
