// <details data-menu>: one open at a time, closed by Escape and by a press elsewhere; a confirm panel takes the focus to its reason.
const openMenus = () => document.querySelectorAll("details[data-menu][open]");

document.addEventListener("click", (event) => {
  const closer = event.target.closest("[data-close-menu]");
  for (const menu of openMenus()) if (closer ? menu.contains(closer) : !menu.contains(event.target)) menu.open = false;
});

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.("details[data-menu]") || !menu.open) return;
  for (const other of openMenus()) if (other !== menu) other.open = false;
  menu.querySelector("[data-focus]")?.focus();
}, true);

// A panel that comes open (a refusal) needs its Cancel as much as one that was opened.
const showClosers = () => { for (const button of document.querySelectorAll("[data-close-menu][hidden]")) button.hidden = false; };
showClosers();
document.addEventListener("htmx:afterSettle", showClosers);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    menu.open = false;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  }
});

// A select of a filter bar sends its form; the button stays for everyone without scripts.
document.addEventListener("change", (event) => {
  if (event.target.matches?.("select[data-submit]")) event.target.form.requestSubmit();
});

// Toasts: closed by their button; good news goes by itself, trouble stays.
const READ_MS = 9000;
document.addEventListener("click", (event) => event.target.closest("[data-close-toast]")?.closest("[data-toast]").remove());
function fade(root) {
  for (const toast of root.querySelectorAll("[data-toast].good:not([data-timed])")) {
    toast.dataset.timed = "";
    const leave = () => toast.matches(":hover, :focus-within") ? setTimeout(leave, READ_MS) : toast.remove();
    setTimeout(leave, READ_MS);
  }
}
fade(document);
document.addEventListener("htmx:afterSettle", () => fade(document));
document.addEventListener("htmx:oobAfterSwap", () => fade(document));

// On a phone the rail scrolls sideways: bring the current entry into view.
const here = document.querySelector(".rail [aria-current]");
const rail = document.querySelector(".rail");
if (here && rail && rail.scrollWidth > rail.clientWidth) rail.scrollLeft = here.offsetLeft - 60;
