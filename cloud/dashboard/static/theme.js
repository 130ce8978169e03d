// Light or dark: the system's choice until the reader makes one; kept in a cookie so that the server draws it at once.
export function startTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const dark = () =>
    root.dataset.theme === "dark" || (root.dataset.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  const show = () => button.setAttribute("aria-pressed", String(dark()));
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
    show();
  });
  show();
}
