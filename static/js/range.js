// Forms of two times ([data-range]) in the reader's own zone: what is sent are instants, and an address means the same everywhere.
const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

for (const form of document.querySelectorAll("[data-range]")) {
  const zone = form.querySelector("[data-zone]");
  if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const [name, said] of [["from", form.dataset.since], ["to", form.dataset.until]]) {
    const box = form.elements[name];
    if (box.value) box.value = local(Date.parse(said));
  }
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, sent] of [["from", "since"], ["to", "until"]]) {
      const at = Date.parse(formData.get(name)); // without a zone it is the reader's
      formData.delete(name);
      if (!Number.isNaN(at)) formData.set(sent, new Date(at).toISOString().replace(".000", ""));
    }
    if (formData.has("since") || formData.has("until")) formData.delete("window");
  });
}
