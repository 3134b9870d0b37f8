// What lanes show: a waveform with beats, values of windows as strips and as lines, curves.
import { short } from "./dom.js";

/** Cells of windows: each reaches to half of the way to the next one's centre. */
export function cellsOf(starts, window, end) {
  const edges = starts.map((start, i) => (i ? (starts[i - 1] + start + window) / 2 : start));
  return starts.map((_, i) => ({ from: edges[i], to: i + 1 < edges.length ? edges[i + 1] : Math.max(edges[i], Math.min(starts[i] + window, end)) }));
}

/** Number of the cell at a time; -1: none. */
export function cellAt(cells, seconds) {
  let low = 0;
  let high = cells.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (cells[middle].from <= seconds) low = middle;
    else high = middle - 1;
  }
  return cells.length && seconds >= cells[low].from && seconds <= cells[low].to + 0.05 ? low : -1;
}

/** Values from 0 to `most` as a strip, the darker the larger. */
export function strip(cells, values, most) {
  return (context, { x, width, height, from, to, colour }) => {
    context.fillStyle = colour("track");
    context.fillRect(0, 0, width, height);
    context.fillStyle = colour("accent");
    cells.forEach((cell, i) => {
      if (cell.to < from || cell.from > to) return;
      context.globalAlpha = Math.min(Math.max(values[i] / most, 0), 1);
      const left = Math.round(x(cell.from)); // whole pixels: no seams between cells
      context.fillRect(left, 0, Math.max(Math.round(x(cell.to)) - left, 1), height);
    });
    context.globalAlpha = 1;
  };
}

/**
 * Values at times as a line, with the numbers at its bottom and its top.
 *
 * @param least the smallest difference of these two, so that what is steady looks steady
 */
export function curve(times, values, least = 0) {
  let low = values.reduce((one, other) => Math.min(one, other));
  let high = values.reduce((one, other) => Math.max(one, other));
  const more = Math.max(least - (high - low), 0) / 2;
  [low, high] = [low - more, high + more];
  return (context, { x, width, height, colour }) => {
    context.fillStyle = colour("track");
    context.fillRect(0, 0, width, height);
    const y = (value) => height - 4 - ((value - low) / (high - low || 1)) * (height - 8);
    context.strokeStyle = colour("accent");
    context.lineWidth = 1.5;
    context.beginPath();
    times.forEach((time, i) => context.lineTo(x(time), y(values[i])));
    context.stroke();
    context.font = "10px system-ui, sans-serif";
    for (const [text, bottom] of [[short(high), 11], [short(low), height - 2]]) {
      context.fillStyle = colour("track");
      context.fillRect(0, bottom - 9, context.measureText(text).width + 6, 11);
      context.fillStyle = colour("muted");
      context.fillText(text, 3, bottom);
    }
  };
}

/** Values of windows as a line of steps. */
export function steps(cells, values, least) {
  return curve(cells.flatMap((cell) => [cell.from, cell.to]), values.flatMap((value) => [value, value]), least);
}

/** Values of equal steps, of which the largest of each pixel is drawn. */
export function dense(values, step) {
  return (context, { x, width, height, from, to, colour }) => {
    context.fillStyle = colour("track");
    context.fillRect(0, 0, width, height);
    context.fillStyle = colour("accent");
    const seconds = (to - from) / width;
    for (let pixel = 0; pixel < width; pixel += 1) {
      const start = from + pixel * seconds;
      const tall = largest(values, start / step, (start + seconds) / step) * height;
      context.fillRect(pixel, height - tall, 1, tall);
    }
  };
}

function largest(values, from, to) {
  let most = 0;
  const last = Math.min(Math.max(Math.ceil(to), Math.floor(from) + 1), values.length);
  for (let i = Math.max(Math.floor(from), 0); i < last; i += 1) if (values[i] > most) most = values[i];
  return most;
}

/** The waveform, where there is one, and beats: downbeats are taller, and have a head. */
export function wave(state) {
  return (context, view) => {
    const { width, height, x, from, to, colour } = view;
    const middle = height / 2;
    context.fillStyle = colour("track");
    context.fillRect(0, 0, width, height);
    context.fillStyle = colour("wave");
    if (state.peaks) {
      const { values, rate } = state.peaks;
      const seconds = (to - from) / width;
      for (let pixel = 0; pixel < width; pixel += 1) {
        const start = from + pixel * seconds;
        const tall = Math.max(1, largest(values, start * rate, (start + seconds) * rate) * (height - 8));
        context.fillRect(pixel, middle - tall / 2, 1, tall);
      }
    } else {
      context.fillRect(0, middle - 1, width, 2);
    }
    for (const beat of state.beats) {
      if (beat.seconds < from || beat.seconds > to) continue;
      const down = beat.position === 1;
      context.fillStyle = colour(down ? "accent" : "ink");
      const tall = down ? height : height / 4;
      context.fillRect(x(beat.seconds) - (down ? 0.75 : 0.5), height - tall, down ? 1.5 : 1, tall);
      if (down) context.fillRect(x(beat.seconds) - 2.5, 0, 5, 4);
    }
  };
}
