// Every <time data-when> in the reader's zone, the exact instant in its title; ages count on. Same rules as console/core/words.py.
const exact = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, timeZoneName: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dayAndMinute = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

function age(at) {
  const seconds = Math.max(0, Math.floor((Date.now() - at) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) {
    const minutes = Math.floor(seconds % 3600 / 60);
    return `${Math.floor(seconds / 3600)} h${minutes ? ` ${String(minutes).padStart(2, "0")}` : ""}`;
  }
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds % 86400 / 3600);
  return !hours || days >= 14 ? `${days} d` : `${days} d ${hours} h`;
}

function clockWords(at) {
  const now = new Date();
  if (at.toDateString() === now.toDateString()) return clock.format(at);
  return at.getFullYear() === now.getFullYear() ? dayAndMinute.format(at).replace(",", "") : day.format(at);
}

// A tick of a chart: the time alone when it is less than a day ago, with the day otherwise.
const tick = (at) => Date.now() - at < 86_000_000 ? minute.format(at) : dayAndMinute.format(at).replace(",", "");
const words = { age: (at) => age(at), clock: clockWords, exact: (at) => exact.format(at), tick };

function show(root) {
  for (const element of root.querySelectorAll("time[data-when]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const text = words[element.dataset.when](at);
    if (element.textContent !== text) element.textContent = text;
    element.title = exact.format(at);
  }
  for (const title of root.querySelectorAll("title[data-at]")) {
    title.textContent = title.textContent.replace(/^[^:]+:\d\d( UTC)?/, dayAndMinute.format(new Date(title.dataset.at)).replace(",", ""));
    title.removeAttribute("data-at");
  }
}

function countOn() {
  for (const element of document.querySelectorAll('time[data-when="age"]')) {
    const text = age(new Date(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

show(document);
document.addEventListener("htmx:afterSettle", (event) => show(event.detail.elt?.isConnected ? event.detail.elt.parentNode ?? document : document));
setInterval(() => { if (!document.hidden) countOn(); }, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) countOn(); });
