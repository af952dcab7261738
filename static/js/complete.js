// Completion in a query box: input[data-complete] asks the server by htmx for what may follow, in the listbox that the box names.
// The combobox pattern of ARIA: the focus stays in the box; arrows move, Enter or Tab take the option, Escape closes the list.
const listOf = (box) => document.getElementById(box.dataset.complete);
const boxOf = (list) => document.querySelector(`[data-complete="${CSS.escape(list.id)}"]`);
const options = (list) => [...list.querySelectorAll("[role=option]")];
const isOpen = (box) => !listOf(box).hidden;
const cursorOf = (box) => [...box.value.slice(0, box.selectionStart)].length; // the server counts code points

function dress(box) {
  box.setAttribute("role", "combobox");
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", box.dataset.complete);
  box.setAttribute("aria-expanded", "false");
}

function close(box) {
  const list = listOf(box);
  list.hidden = true;
  list.replaceChildren();
  box.setAttribute("aria-expanded", "false");
  box.removeAttribute("aria-activedescendant");
}

function choose(box, step) {
  const all = options(listOf(box));
  const at = all.findIndex((one) => one.getAttribute("aria-selected") === "true");
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : (at + step + all.length) % all.length;
  all.forEach((one, index) => one.setAttribute("aria-selected", String(index === next)));
  box.setAttribute("aria-activedescendant", all[next].id);
  all[next].scrollIntoView({ block: "nearest" });
}

function take(box, option) {
  const points = [...box.value];
  const before = points.slice(0, Number(option.dataset.start)).join("");
  const after = points.slice(Number(option.dataset.cursor)).join("");
  const text = after.startsWith(" ") ? option.dataset.text.trimEnd() : option.dataset.text;
  box.value = before + text + after;
  box.setSelectionRange((before + text).length, (before + text).length);
  close(box);
  if (text.endsWith(":")) htmx.trigger(box, "complete"); // a field: its values come next
}

document.addEventListener("htmx:configRequest", (event) => {
  const box = event.detail.elt;
  if (!box.matches("[data-complete]")) return;
  event.detail.parameters.at = cursorOf(box);
  event.detail.parameters.q = box.value;
});

document.addEventListener("htmx:afterSwap", (event) => {
  const list = event.detail.target;
  const box = list.matches("[role=listbox]") && boxOf(list);
  if (!box) return;
  const all = options(list);
  all.forEach((one, index) => { one.id = `${list.id}-${index}`; });
  const shown = all.length > 0 && document.activeElement === box && Number(all[0].dataset.cursor) === cursorOf(box);
  if (!shown) return close(box);
  list.hidden = false;
  box.setAttribute("aria-expanded", "true");
  box.removeAttribute("aria-activedescendant");
});

document.addEventListener("keydown", (event) => {
  const box = event.target;
  if (!box.matches?.("[data-complete]") || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const done = () => { event.preventDefault(); event.stopImmediatePropagation(); };
  if (event.key === "ArrowDown" && !isOpen(box)) { htmx.trigger(box, "complete"); done(); return; }
  if (!isOpen(box)) return;
  const chosen = listOf(box).querySelector("[aria-selected=true]");
  if (event.key === "ArrowDown") { choose(box, 1); done(); }
  else if (event.key === "ArrowUp") { choose(box, -1); done(); }
  else if (event.key === "Escape") { close(box); done(); }
  else if ((event.key === "Enter" || event.key === "Tab") && chosen) { take(box, chosen); done(); }
  else if (event.key === "Enter") close(box);
}, true);

// By mouse: pressing must not take the focus out of the box.
document.addEventListener("mousedown", (event) => {
  const option = event.target.closest?.("[role=listbox] [role=option]");
  if (!option) return;
  event.preventDefault();
  take(boxOf(option.parentElement), option);
});
document.addEventListener("focusout", (event) => { if (event.target.matches?.("[data-complete]")) close(event.target); });

document.querySelectorAll("[data-complete]").forEach(dress);
document.addEventListener("htmx:afterSettle", () => document.querySelectorAll("[data-complete]:not([role])").forEach(dress));
