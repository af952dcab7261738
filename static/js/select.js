// Ticked rows: input[data-pick-row] in a form with an id; the bar [data-pick=<id>] says how many. Shift ticks a range.
// Ticks outlive a swap of the list: they are kept by value and put back.
let last = null;
const boxes = (form) => [...document.querySelectorAll("input[data-pick-row]")].filter((box) => box.form === form);

function tell(bar) {
  const form = document.getElementById(bar.dataset.pick);
  const all = form ? boxes(form) : [];
  const ticked = all.filter((box) => box.checked);
  bar.toggleAttribute("data-empty", ticked.length === 0);
  const text = ticked.length ? `${ticked.length} selected` : "Tick rows, then choose";
  const count = bar.querySelector("[data-pick-count]");
  if (count.textContent !== text) count.textContent = text;
  for (const button of bar.querySelectorAll("[data-pick-clear]")) button.hidden = !ticked.length;
  for (const word of bar.querySelectorAll("[data-pick-number]")) word.textContent = ticked.length;
  for (const every of document.querySelectorAll("input[data-pick-all]")) {
    if (every.form !== form) continue;
    every.hidden = false;
    every.checked = all.length > 0 && ticked.length === all.length;
    every.indeterminate = ticked.length > 0 && ticked.length < all.length;
  }
}
const tellAll = () => document.querySelectorAll("[data-pick]").forEach(tell);

document.addEventListener("click", (event) => {
  const box = event.target;
  if (box.matches?.("input[data-pick-row]")) {
    const all = boxes(box.form);
    if (event.shiftKey && last?.isConnected && last.form === box.form) {
      const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
      for (const one of all.slice(from, to + 1)) one.checked = box.checked;
    }
    last = box;
  } else if (box.closest?.("[data-pick-clear]")) {
    const form = document.getElementById(box.closest("[data-pick]").dataset.pick);
    for (const one of boxes(form)) one.checked = false;
    tellAll();
  }
});

document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.matches?.("input[data-pick-all]")) for (const one of boxes(box.form)) one.checked = box.checked;
  if (box.matches?.("input[data-pick-all], input[data-pick-row]")) tellAll();
});

let kept = new Set();
document.addEventListener("htmx:beforeSwap", () => {
  kept = new Set([...document.querySelectorAll("input[data-pick-row]:checked")].map((box) => box.value));
});
document.addEventListener("htmx:afterSettle", () => {
  for (const box of document.querySelectorAll("input[data-pick-row]")) if (kept.has(box.value)) box.checked = true;
  tellAll();
});
tellAll();
