// The keyboard: / search, ? keys, j k rows, Enter open, x tick, g + letter go, and any element's own data-key.
// Rows are the rows of a [data-rows] element; the first link in a row (or [data-open]) is what Enter opens.
const GO = { o: "/", m: "/messages/", d: "/dead-letters/", f: "/flows/", x: "/groups/", p: "/plans/", k: "/compensations/", t: "/topology/", c: "/connections/", a: "/agents/", i: "/ingest/", u: "/audit/", s: "/settings/", e: "/demo/", b: "/breaches/", j: "/objectives/" };
const GO_MS = 1200;
let goUntil = 0;
let cursorId = null;

const rows = () => [...document.querySelectorAll("[data-rows] > tr, [data-rows] > li")].filter((row) => row.querySelector("a[href]"));
const cursor = () => document.querySelector("[data-rows] > .cursor");
const typing = (element) => element.matches?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

function put(row) {
  cursor()?.classList.remove("cursor");
  row.classList.add("cursor");
  cursorId = row.id || row.querySelector("a[href]")?.getAttribute("href");
  row.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(cursor());
  put(all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + step))]);
}

const openKeys = () => { const keys = document.getElementById("keys"); if (keys && !keys.open) keys.showModal(); };
const opener = (row) => row?.querySelector("[data-open]") ?? row?.querySelector("a[href]");

function press(key) {
  const target = cursor()?.querySelector(`[data-key="${CSS.escape(key)}"]`) ?? document.querySelector(`main [data-key="${CSS.escape(key)}"]`);
  if (!target) return false;
  if (!target.checkVisibility()) { // the bar of a list without ticks: the row under the cursor is meant
    const box = cursor()?.querySelector("input[data-pick-row]");
    if (!box) return false;
    box.click();
  }
  target.click();
  return true;
}

const actions = {
  "/": () => { const box = document.querySelector("[data-find]"); box?.focus(); box?.select(); },
  "?": openKeys,
  j: () => move(1),
  k: () => move(-1),
  x: () => cursor()?.querySelector("input[type=checkbox]")?.click(),
  g: () => { goUntil = Date.now() + GO_MS; },
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing(target)) {
    if (key === "Escape" && !target.closest("details[data-menu][open]")) target.blur(); // menus.js hands it to the menu's button
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (key === "Escape") { cursor()?.classList.remove("cursor"); return; }
  if (key === "Enter") {
    if (!target.closest("a, button, summary, input") && opener(cursor())) { opener(cursor()).click(); event.preventDefault(); }
    return;
  }
  if (goUntil > Date.now() && GO[key]) {
    goUntil = 0;
    document.querySelector(`.rail a[href="${GO[key]}"]:not(.brand)`)?.click();
    event.preventDefault();
    return;
  }
  const action = actions[key];
  if (action) { action(); event.preventDefault(); } else if (key.length === 1 && press(key)) event.preventDefault();
});

document.addEventListener("click", (event) => { if (event.target.closest("[data-open-keys]")) openKeys(); });
for (const button of document.querySelectorAll("[data-open-keys]")) button.hidden = false;

// A swap brings new rows: the cursor goes back to the row it was on.
document.addEventListener("htmx:afterSettle", () => {
  if (!cursorId || cursor()) return;
  const row = rows().find((one) => (one.id || one.querySelector("a[href]")?.getAttribute("href")) === cursorId);
  if (row) row.classList.add("cursor");
});
