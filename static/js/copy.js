// Copy buttons: hidden until scripts run. data-copy holds the text, data-copy-from the id of the element that has it.
function reveal() {
  if (!navigator.clipboard) return; // plain http on another host: selecting by hand still works
  for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  event.preventDefault();
  const from = button.dataset.copyFrom;
  await navigator.clipboard.writeText(from ? document.getElementById(from).textContent : button.dataset.copy);
  button.dataset.done = "";
  setTimeout(() => delete button.dataset.done, 1600);
});

reveal();
document.addEventListener("htmx:afterSettle", reveal);
