// Charts that answer: Vega draws over the plain pictures once the page is there. Without this file, or without its bundle, those stay.
// A drag chooses a time (the form above does it by keyboard), a click on a bar opens the failed messages, one on a mark its change.
let box = document.querySelector("[data-figures]");
let given = box && JSON.parse(document.getElementById(box.dataset.figures).textContent);

// Colours in the definitions are names of tokens: those of the theme that is on.
function coloured(spec) {
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement("span");
  box.append(probe);
  const known = {};
  const text = JSON.stringify(spec).replace(/var\((--[\w-]+)\)/g, (_, name) => {
    if (!known[name]) { probe.style.color = style.getPropertyValue(name) ? `var(${name})` : "gray"; known[name] = getComputedStyle(probe).color; }
    return known[name];
  });
  probe.remove();
  return JSON.parse(text);
}

function tip(handler, event, item, value) {
  let line = document.getElementById("figure-tip");
  if (!line) {
    line = document.createElement("div");
    line.id = "figure-tip";
    line.className = "figure-tip";
    document.body.append(line);
  }
  line.hidden = !value;
  if (!value) return;
  line.replaceChildren(...Object.entries(value).filter(([, said]) => said !== "null" && said !== "NaN").map(([name, said]) => {
    const row = document.createElement("span");
    const strong = document.createElement("b");
    strong.textContent = said;
    row.append(name === "what" ? "" : `${name} `, strong);
    return row;
  }));
  const { width, height } = line.getBoundingClientRect();
  line.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  line.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 8))}px`;
}

function show(since, until) {
  const address = new URL(location.href);
  for (const name of ["window", "from", "to"]) address.searchParams.delete(name);
  address.searchParams.set("since", stamp(since));
  address.searchParams.set("until", stamp(until));
  location.assign(address);
}

const stamp = (at) => new Date(at).toISOString().replace(/\.\d+/, "");

// As messages/figures/present.py writes it.
function failuresOf(step) {
  const at = Number(step.at), address = new URL(given.failures, location.href);
  address.searchParams.set("q", `${address.searchParams.get("q")}failed:["${stamp(at)}" TO "${stamp(at + given.step_ms)}"}`);
  return address.pathname + address.search;
}

async function draw(place) {
  const spec = coloured({ ...given.charts[place.dataset.chart], datasets: { steps: given.steps, marks: given.marks } });
  if (!given.marks.length) spec.layer = spec.layer.filter((layer) => layer.data.name !== "marks"); // of nothing Vega knows no extent
  spec.params = [{ name: "step_ms", value: given.step_ms }];
  place.hidden = false;
  const { view } = await window.vegaEmbed(place, spec, { mode: "vega-lite", actions: false, renderer: "svg", ast: true, defaultStyle: false, tooltip: tip });
  place.querySelector("svg").setAttribute("aria-hidden", "true"); // the place has the words; the tables below have the figures
  place.parentElement.querySelectorAll(":scope > .plain").forEach((plain) => { plain.hidden = true; });
  if (given.still) return view; // nothing is chosen in it
  let chosen = null;
  view.addSignalListener("brush", (_, value) => { chosen = value?.at ?? null; });
  view.addEventListener("pointerdown", () => {
    const ended = new AbortController(); // a finger that scrolls the page instead cancels the drag
    addEventListener("pointercancel", () => ended.abort(), { signal: ended.signal });
    addEventListener("pointerup", () => {
      ended.abort();
      if (chosen && chosen[1] - chosen[0] >= given.step_ms) show(chosen[0], chosen[1]);
    }, { signal: ended.signal });
  });
  view.addEventListener("click", (_, item) => {
    if (!item?.datum || (chosen && chosen[1] - chosen[0] >= given.step_ms)) return;
    const url = item.datum.url ?? (place.dataset.chart === "failures" && item.datum.failed ? failuresOf(item.datum) : "");
    if (url.startsWith("/")) location.assign(url);
  });
  return view;
}

async function begin() {
  try {
    await import(box.dataset.bundle);
  } catch {
    return; // not there: the plain pictures say the same
  }
  const places = [...box.querySelectorAll("[data-chart]")];
  const all = async () => { for (const place of places) await draw(place); };
  await all();
  box.dataset.drawn = "";
  new MutationObserver(all).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
}

const soon = window.requestIdleCallback ?? ((run) => setTimeout(run, 50));
if (box?.dataset.bundle) {
  if (document.readyState === "complete") soon(begin); else addEventListener("load", () => soon(begin));
}
// A part with charts that came after the page.
document.addEventListener("htmx:afterSettle", (event) => {
  const came = event.detail.elt?.querySelector?.("[data-figures]");
  if (!came || came === box || !came.dataset.bundle) return;
  box = came;
  given = JSON.parse(document.getElementById(box.dataset.figures).textContent);
  soon(begin);
});
