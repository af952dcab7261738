// Lists that follow: an element [data-live] polls itself by htmx (hx-trigger="every 5s"). This file says when not to:
// the reader has ticked rows, types, reads in it, opened something in it, or asked for a pause; a hidden tab asks once a minute.
// It also turns a refusal or a dead console into a toast, so that no swap replaces a page by an error.
const HIDDEN_PAUSE_MS = 60_000;
const paused = new Set();
const askedAt = new WeakMap();

function busy(list) {
  if (paused.has(list.id)) return "paused";
  if (document.querySelector("input[data-pick-row]:checked")) return "waits: rows are ticked";
  if (list.querySelector("details[open], dialog[open]")) return "waits: something is open";
  const focus = document.activeElement;
  if (focus?.matches("input:not([type=checkbox], [type=radio]), textarea") && focus.value) return "waits: you are typing";
  // By keyboard: a swap would throw the reader out of the list. A press of the mouse leaves a focus too, which nobody needs.
  if (list.contains(focus) && focus.matches(":focus-visible")) return "waits: the focus is in it";
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed && list.contains(selection.anchorNode)) return "waits: text is selected";
  return "";
}

function say(list, why) {
  for (const button of document.querySelectorAll(`[data-live-toggle="${CSS.escape(list.id)}"]`)) {
    button.hidden = false;
    button.setAttribute("aria-pressed", String(paused.has(list.id)));
    button.toggleAttribute("data-waiting", Boolean(why));
    button.textContent = why || "live";
    button.title = paused.has(list.id) ? "Follow again" : "Pause";
  }
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const list = event.detail.elt;
  if (!list.matches?.("[data-live]")) return;
  const why = busy(list);
  say(list, why);
  const soon = document.hidden && Date.now() - (askedAt.get(list) ?? 0) < HIDDEN_PAUSE_MS;
  if (why || soon) event.preventDefault();
  else askedAt.set(list, Date.now());
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-live-toggle]");
  if (!button) return;
  const id = button.dataset.liveToggle;
  if (!paused.delete(id)) paused.add(id);
  say({ id }, paused.has(id) ? "paused" : "");
});

const tellAll = () => document.querySelectorAll("[data-live]").forEach((list) => say(list, busy(list)));
tellAll();
document.addEventListener("htmx:afterSettle", tellAll);
document.addEventListener("change", tellAll);

function toast(text) {
  const box = document.getElementById("toasts");
  if (!box || [...box.querySelectorAll("p")].some((p) => p.textContent === text)) return;
  const item = document.createElement("div");
  item.className = "toast bad";
  item.dataset.toast = "";
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.dataset.closeToast = "";
  close.textContent = "Close";
  item.append(words, close);
  box.append(item);
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (new URL(xhr.responseURL || location.href).pathname.startsWith("/sign-in/")) { // the session ended while the page was open
    event.detail.shouldSwap = false;
    location.assign(`/sign-in/?next=${encodeURIComponent(location.pathname + location.search)}`);
  } else if (xhr.status >= 400 && xhr.responseText.includes("data-problem")) {
    event.detail.shouldSwap = false;
    toast(new DOMParser().parseFromString(xhr.responseText, "text/html").querySelector("[data-problem]").textContent.trim());
  }
});
document.addEventListener("htmx:responseError", (event) => {
  if (!event.detail.elt.matches("[data-live]")) toast(`The console failed to answer (${event.detail.xhr.status}). Nothing on this page changed; try again.`);
});
document.addEventListener("htmx:sendError", (event) => {
  if (!event.detail.elt.matches("[data-live]")) toast("The console cannot be reached. Nothing was sent; try again.");
  else say(event.detail.elt, "the console cannot be reached");
});
