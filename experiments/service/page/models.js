// What the service serves, and the lines for a terminal.
import { el, plural } from "./dom.js";
import { needed } from "./token.js";

const MANY = 60; // labels that are listed at once

const bearer = () => (needed() ? ' -H "Authorization: Bearer $TOKEN"' : "");
const curl = (path) => `curl${bearer()} -F audio=@song.mp3 ${location.origin}${path}`;

/** A line for a terminal, with a button that copies it. */
export function line(text) {
  const copy = el("button", { onclick: () => navigator.clipboard?.writeText(text).then(() => (copy.textContent = "Copied")) }, "Copy");
  return el("div", { class: "line" }, el("pre", {}, el("code", {}, text)), navigator.clipboard ? copy : null);
}

function description(model) {
  const facts = [
    ["task", model.task ?? "embeddings only"],
    ["network", model.network],
    ["weights", model.weights],
    ["licence", model.licence],
    ["windows", `${model.window_seconds.toFixed(1)} s`],
  ];
  const labels = model.labels.slice(0, MANY).join(", ") + (model.labels.length > MANY ? " …" : "");
  return el(
    "article",
    { class: "card" },
    el("h3", {}, model.name),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    model.labels.length ? el("details", {}, el("summary", {}, plural(model.labels.length, "label")), el("p", { class: "small" }, labels)) : null,
    model.task ? null : line(curl(`/v1/${model.name}/embed`)),
  );
}

/** Fill the list of models. */
export function showModels(node, models) {
  const predicting = models.filter((model) => model.task);
  const path = predicting.length > 1 ? "/v1/predict" : predicting.length ? `/v1/${predicting[0].name}/predict` : null;
  node.replaceChildren(
    el("div", { class: "cards" }, models.map(description)),
    ...(path ? [el("p", {}, "From a terminal:"), line(curl(path))] : []),
  );
}
