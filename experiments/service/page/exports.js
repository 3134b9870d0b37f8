// Results as files: JSON, CSV, and the beats of a recording as text.
import { el } from "./dom.js";

const COLUMNS = ["file", "model", "type", "start", "label", "value", "selected"];

/** Have the browser save a text. */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export function asJson(entries) {
  const documents = entries.map(({ path, result }) => ({ file: path, ...result }));
  return `${JSON.stringify(documents.length === 1 ? documents[0] : documents, null, 1)}\n`;
}

/** A cell: numbers as they are; texts quoted, and never such that a spreadsheet takes them for a formula. */
export function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[\s]*[=+\-@|%\t\r]/.test(value) ? `'${value}` : value;
  return `"${safe.replaceAll('"', '""')}"`;
}

function* windows(answer) {
  for (const { seconds, values } of answer.over_time ?? []) {
    for (const [label, value] of Object.entries(values)) yield [seconds, label, value, null];
  }
}

function* rowsOf(answer) {
  if (answer.kind === "tags" || answer.kind === "class") {
    const all = { ...answer.ranked, ...answer.selected };
    for (const [label, value] of Object.entries(all)) yield [null, label, value, label in answer.selected ? "yes" : "no"];
    yield* windows(answer);
  } else if (answer.kind === "values") {
    for (const [label, value] of Object.entries(answer.values)) yield [null, label, value, null];
    yield* windows(answer);
  } else if (answer.kind === "tempo") {
    const { tempo } = answer;
    for (const label of ["tempo", "second_tempo", "salience", "confidence"]) yield [null, label, tempo[label], null];
    for (const one of tempo.over_time ?? []) yield [one.seconds[0], "tempo", one.tempo, null];
  } else {
    for (const label of ["tempo", "metre", "confidence"]) yield [null, label, answer[label], null];
    for (const beat of answer.beats) yield [beat.seconds, "beat", beat.position, null];
    for (const point of answer.tempo_curve) yield [point.seconds, "tempo", point.tempo, null];
  }
}

/** One row for each number; of beats the value is the position in the bar. */
export function asCsv(entries) {
  const lines = [COLUMNS.join(",")];
  for (const { path, result } of entries) {
    for (const [model, answer] of Object.entries(result.answers)) {
      for (const row of rowsOf(answer)) lines.push([path, model, answer.kind, ...row].map(cell).join(","));
    }
    for (const [model, reason] of Object.entries(result.problems)) lines.push([path, model, "problem", null, reason, null, null].map(cell).join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}

/** Beats as `seconds TAB position`, or seconds alone where nothing is known of bars. */
export function asBeats(beats) {
  const bars = beats.some((beat) => beat.position);
  return beats.map((beat) => `${beat.seconds.toFixed(4)}${bars ? `\t${beat.position ?? 0}` : ""}\n`).join("");
}
