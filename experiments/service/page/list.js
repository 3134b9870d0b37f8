// The rows of the list of files.
import { announce, el } from "./dom.js";

const ACTIVE = new Set(["waiting", "uploading", "computing"]);

/** Rows of a queue's entries: `{show(entry), drop(entry), mark(entry)}`; `open` and `remove` are what buttons do. */
export function createList(node, { open, cancel, retry, remove }) {
  const rows = new Map();

  function rowOf(entry) {
    const name = el("button", { class: "name", onclick: () => open(entry), title: entry.path }, entry.path);
    const state = el("span", { class: "state" });
    const progress = el("progress", { max: 100, "aria-label": `Upload of ${entry.path}` });
    const act = el("button", { class: "act", onclick: () => (ACTIVE.has(entry.state) ? cancel : retry)(entry) });
    const gone = el("button", { class: "act", "aria-label": `Remove ${entry.path}`, onclick: () => remove(entry) }, "×");
    const item = el("li", {}, name, el("span", { class: "acts" }, act, gone), progress, state);
    rows.set(entry, { item, name, state, progress, act });
    node.append(item);
    return rows.get(entry);
  }

  return {
    show(entry) {
      const { item, state, progress, act } = rows.get(entry) ?? rowOf(entry);
      item.dataset.state = entry.state;
      state.textContent = entry.detail ? `${entry.state}: ${entry.detail}`.replace("uploading:", "uploading") : entry.state;
      progress.hidden = entry.state !== "uploading";
      if (entry.state === "uploading") progress.value = Number.parseInt(entry.detail, 10);
      act.hidden = entry.state === "done";
      act.textContent = ACTIVE.has(entry.state) ? "Cancel" : "Retry";
      act.setAttribute("aria-label", `${act.textContent} ${entry.path}`);
      if (entry.state === "done" || entry.state === "error") announce(`${entry.path}: ${state.textContent}`);
    },
    drop(entry) {
      rows.get(entry).item.remove();
      rows.delete(entry);
    },
    mark(entry) {
      for (const [one, { item, name }] of rows) {
        item.classList.toggle("current", one === entry);
        if (one === entry) name.setAttribute("aria-current", "true");
        else name.removeAttribute("aria-current");
      }
    },
    focus(entry) {
      rows.get(entry)?.name.focus();
    },
  };
}
