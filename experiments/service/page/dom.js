// Elements and words. Texts become text nodes, never markup.

/** An element with attributes, listeners (`onclick: f`) and children; null and false are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Seconds as 1:02 or 1:02:03, with tenths where they are wanted. */
export function clock(seconds, tenths = false) {
  const whole = tenths ? Math.floor(seconds * 10) / 10 : Math.floor(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = (whole % 60).toFixed(tenths ? 1 : 0).padStart(tenths ? 4 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Seconds in words, for screen readers. */
export function spoken(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes ? `${minutes} min ` : ""}${Math.floor(seconds % 60)} s`;
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** A number with as many digits as are worth reading. */
export const short = (value) => value.toFixed(Math.abs(value) < 1 ? 3 : Math.abs(value) < 100 ? 2 : 1);

/** Say something to screen readers. */
export function announce(text) {
  byId("status").textContent = text;
}

/** A table that is made when it is opened for the first time; `rows()` gives texts and numbers. */
export function lazyTable(title, columns, rows) {
  const details = el("details", { class: "table" }, el("summary", {}, title));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const head = el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)));
    const body = rows().map((row) => el("tr", {}, row.map((cell) => el("td", {}, String(cell ?? "")))));
    const table = el("table", {}, el("thead", {}, head), el("tbody", {}, body));
    details.append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, table));
  });
  return details;
}
