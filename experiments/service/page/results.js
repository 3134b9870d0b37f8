// What models say of a recording: cards with names and numbers, and lanes under its waveform.
import { el, lazyTable, plural, short } from "./dom.js";
import { cellAt, cellsOf, curve, dense, steps, strip } from "./lanes.js";

const STEADY = 10; // BPM between the bottom and the top of a curve, at least
const bpm = (tempo) => (tempo === null ? "not known" : `${tempo.toFixed(1)} BPM`);
const percent = (share) => `${Math.round(100 * share)} %`;

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined);
  return el("dl", { class: "facts" }, known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** Classes with bars and numbers; those that are selected have a tick and bold letters. */
function bars(scores, selected, thresholds) {
  const items = Object.entries(scores).map(([label, value]) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span", { class: "fill" }));
    bar.firstChild.style.width = `${100 * Math.min(Math.max(value, 0), 1)}%`;
    if (thresholds?.[label] !== undefined) {
      const line = el("span", { class: "threshold", title: `threshold ${short(thresholds[label])}` });
      line.style.left = `${100 * thresholds[label]}%`;
      bar.append(line);
    }
    const chosen = label in selected;
    const mark = chosen ? el("span", { class: "mark" }, el("span", { "aria-hidden": "true" }, "✓"), el("span", { class: "unseen" }, "selected: ")) : null;
    return el("li", { class: chosen ? "selected" : null }, el("span", { class: "label" }, mark, label), bar, el("span", { class: "number", title: value }, value.toFixed(3)));
  });
  return el("ol", { class: "bars" }, items);
}

/** Lanes of windows, and their table. */
function overTime(answer, labels, timeline, lane) {
  const rows = answer.over_time ?? [];
  if (!rows.length) return null;
  const cells = cellsOf(rows.map((row) => row.seconds), answer.window_seconds, answer.seconds);
  for (const label of labels) {
    const values = rows.map((row) => row.values[label]);
    const now = (seconds) => (values[cellAt(cells, seconds)] === undefined ? "" : short(values[cellAt(cells, seconds)]));
    lane(label, cells, values, now);
  }
  const table = () => rows.map((row) => [row.seconds, ...labels.map((label) => row.values[label])]);
  return lazyTable(`Over time, as a table (${plural(rows.length, "window")} of ${answer.window_seconds.toFixed(1)} s)`, ["start, s", ...labels], table);
}

function classes(answer, timeline) {
  const ranked = { ...answer.ranked };
  for (const [label, value] of Object.entries(answer.selected)) ranked[label] ??= value;
  const labels = Object.keys(answer.ranked);
  const all = (answer.over_time ?? []).flatMap((row) => labels.map((label) => row.values[label]));
  const most = all.reduce((one, other) => Math.max(one, other), 1e-6);
  const table = overTime(answer, labels, timeline, (label, cells, values, now) =>
    timeline.add(label, strip(cells, values, most), { now, selected: label in answer.selected }));
  const { rule, source, below_thresholds: below, thresholds } = answer.selection;
  const headline = answer.kind === "class" ? el("p", { class: "headline" }, Object.keys(answer.selected).join(", ")) : null;
  const why = `✓ ${rule === "thresholds" ? `reaches its threshold (${source})` : source}`;
  return [
    headline,
    bars(ranked, answer.selected, thresholds),
    el("p", { class: "small" }, below ? `✓ the most probable: no tag reaches its threshold (${source})` : why),
    table,
    table ? el("p", { class: "small" }, `Over time, full colour stands for ${short(most)}.`) : null,
  ];
}

function values(answer, timeline) {
  const table = overTime(answer, Object.keys(answer.values), timeline, (label, cells, row, now) =>
    timeline.add(label, steps(cells, row), { now, height: 44 }));
  return [facts(Object.entries(answer.values).map(([label, value]) => [label, short(value)])), table];
}

function tempo(answer, timeline) {
  const { tempo: first, second_tempo: second, salience, confidence, over_time: windows } = answer.tempo;
  let table = null;
  if (windows?.length) {
    const cells = cellsOf(windows.map((one) => one.seconds[0]), answer.window_seconds, answer.seconds);
    const tempi = windows.map((one) => one.tempo);
    const now = (seconds) => tempi[cellAt(cells, seconds)]?.toFixed(1) ?? "";
    timeline.add("tempo, BPM", steps(cells, tempi, STEADY), { now, height: 44 });
    const rows = () => windows.map((one) => [...one.seconds, one.tempo, one.second_tempo, one.salience, one.confidence]);
    table = lazyTable("Tempo over time, as a table", ["start, s", "end, s", "tempo", "second tempo", "salience", "confidence"], rows);
  }
  return [
    el("p", { class: "headline" }, bpm(first)),
    facts([["possibly", bpm(second)], ["salience", salience === null ? null : percent(salience)], ["confidence", confidence === null ? null : percent(confidence)]]),
    answer.ranked ? bars(answer.ranked, {}, null) : null,
    table,
  ];
}

function beats(answer, timeline) {
  const { beats: found, activations, tempo_curve: points } = answer;
  activations?.labels.forEach((label, column) => {
    const row = Float32Array.from(activations.values, (step) => step[column]);
    timeline.add(`${label}, activation`, dense(row, activations.step_seconds), { height: 30 });
  });
  if (points.length > 1) {
    const times = points.map((point) => point.seconds);
    const tempi = points.map((point) => point.tempo);
    const now = (seconds) => {
      const next = times.findIndex((time) => time >= seconds);
      return tempi[next < 0 ? tempi.length - 1 : next].toFixed(1);
    };
    timeline.add("tempo, BPM", curve(times, tempi, STEADY), { now, height: 44 });
  }
  const others = answer.alternatives.map((one) => bpm(one.tempo)).join(", ");
  return [
    el("p", { class: "headline" }, found.length ? bpm(answer.tempo) : "No beats found"),
    facts([
      ["metre", answer.metre === null ? "not known" : `${answer.metre} beats a bar`],
      ["beats", found.length.toLocaleString("en")],
      ["downbeats", answer.downbeats.length.toLocaleString("en")],
      ["confidence", answer.confidence === null ? null : percent(answer.confidence)],
      ["possibly", others || null],
    ]),
    found.length ? lazyTable("Beats, as a table", ["seconds", "position in the bar", "confidence"], () => found.map((beat) => [beat.seconds, beat.position, beat.confidence])) : null,
    points.length ? lazyTable("Tempo curve, as a table", ["seconds", "BPM"], () => points.map((point) => [point.seconds, point.tempo])) : null,
  ];
}

const SUMMARIES = {
  class: (answer) => Object.keys(answer.selected).join(", "),
  tempo: (answer) => bpm(answer.tempo.tempo),
  beats: (answer) => [bpm(answer.tempo), answer.metre === null ? "" : `, ${answer.metre} beats a bar`].join(""),
};
const KINDS = { tags: classes, class: classes, values, tempo, beats };

/**
 * Show a result: lanes in a timeline, cards in what is returned.
 *
 * @param models descriptions by name
 */
export function present(result, models, timeline) {
  const names = Object.keys(result.answers);
  const cards = names.map((name) => {
    const answer = result.answers[name];
    const task = models[name]?.task;
    const title = task && task !== name ? `${name} (${task})` : name;
    const summary = SUMMARIES[answer.kind]?.(answer);
    timeline.title(summary ? `${title}: ${summary}` : title);
    const content = KINDS[answer.kind](answer, timeline);
    const notes = answer.notes.map((note) => el("p", { class: "note" }, note));
    return el("article", { class: "card", "aria-label": title, "data-model": name }, el("h3", {}, title), notes, content);
  });
  const failed = Object.entries(result.problems).map(([name, reason]) =>
    el("article", { class: "card", "aria-label": name, "data-model": name }, el("h3", {}, name), el("p", { class: "note" }, `No answer: ${reason}`)));
  return [...cards, ...failed];
}

/** All beats of a result, of the first model that found some. */
export function beatsOf(result) {
  return Object.values(result?.answers ?? {}).find((answer) => answer.kind === "beats" && answer.beats.length)?.beats ?? [];
}
