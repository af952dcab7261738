// Runs before the first paint: says that scripts run, and applies the reader's theme. Not a module, so that it blocks.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const read = () => { try { return localStorage.getItem("waybill-theme") || "system"; } catch { return "system"; } };
  const apply = (theme) => theme === "system" ? root.removeAttribute("data-theme") : root.setAttribute("data-theme", theme);
  apply(read());

  const show = () => {
    for (const button of document.querySelectorAll("[data-set-theme]")) button.setAttribute("aria-pressed", String(button.dataset.setTheme === read()));
    for (const menu of document.querySelectorAll("[data-theme-menu]")) menu.hidden = false;
  };
  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-set-theme]");
    if (!button) return;
    try { localStorage.setItem("waybill-theme", button.dataset.setTheme); } catch { /* private window: lasts for this page */ }
    apply(button.dataset.setTheme);
    show();
  });
})();
