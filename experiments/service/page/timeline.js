// Lanes over one time axis, a cursor, seeking by pointer and by keyboard, and a part of the time seen larger.
import { clock, el, spoken } from "./dom.js";

const SHORTEST_VIEW = 2; // seconds
const STEP = 5; // seconds, of an arrow key

export class Timeline {
  /** @param seek (seconds) => the user wants to be there */
  constructor(seek) {
    this.seek = seek;
    this.duration = 0;
    this.time = 0;
    this.from = 0;
    this.zoom = 1;
    this.lanes = [];
    this.cursor = el("div", { class: "cursor", "aria-hidden": "true" });
    this.node = el("div", { class: "timeline" }, this.cursor);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.node);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.scheme.addEventListener("change", this.redraw);
  }

  close() {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.redraw);
  }

  /** How many seconds are seen. */
  get seen() {
    return this.duration / this.zoom;
  }

  /**
   * Add a lane.
   *
   * @param label what it shows
   * @param paint (context, {width, height, x, from, to, colour}) draws it; `x(seconds)` is a place
   * @param now (seconds) => text beside the label, of where the cursor is
   */
  add(label, paint, { now = null, height = 14, selected = false, slider = false } = {}) {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const value = el("span", { class: "now", "aria-hidden": "true" });
    const picture = el("div", { class: "picture" }, canvas);
    picture.style.height = `${height}px`;
    if (slider) this.makeSlider(picture);
    this.listen(picture);
    const mark = selected ? el("span", { class: "mark" }, "✓ ") : null;
    const name = el("div", { class: `lane-label${selected ? " selected" : ""}` }, el("span", { class: "lane-name", title: label }, mark, label), value);
    const node = el("div", { class: "lane" }, name, picture);
    this.lanes.push({ node, canvas, picture, paint, now, value, height });
    this.node.append(node);
    return node;
  }

  /** A title between lanes. */
  title(text) {
    const node = el("h3", { class: "lane-title" }, text);
    this.lanes.push({ node });
    this.node.append(node);
  }

  /** Remove all lanes but the first `count`. */
  keep(count) {
    for (const lane of this.lanes.splice(count)) lane.node.remove();
  }

  makeSlider(picture) {
    this.slider = picture;
    const attributes = { role: "slider", tabindex: 0, "aria-label": "Position in the recording", "aria-valuemin": 0 };
    for (const [name, value] of Object.entries(attributes)) picture.setAttribute(name, value);
    picture.addEventListener("keydown", (event) => {
      if (this.key(event.key)) event.preventDefault();
    });
  }

  /** What a key does here; whether it does anything. */
  key(name) {
    const to = {
      ArrowLeft: this.time - STEP,
      ArrowRight: this.time + STEP,
      ArrowDown: this.time - STEP,
      ArrowUp: this.time + STEP,
      PageDown: this.time - 6 * STEP,
      PageUp: this.time + 6 * STEP,
      Home: 0,
      End: this.duration,
    }[name];
    if (to !== undefined) this.seek(this.clamped(to));
    return to !== undefined;
  }

  listen(picture) {
    const go = (event) => {
      const box = picture.getBoundingClientRect();
      this.seek(this.clamped(this.from + ((event.clientX - box.left) / box.width) * this.seen));
    };
    picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.duration) return;
      picture.setPointerCapture(event.pointerId);
      go(event);
    });
    picture.addEventListener("pointermove", (event) => {
      if (picture.hasPointerCapture(event.pointerId)) go(event);
    });
  }

  clamped(seconds) {
    return Math.min(Math.max(seconds, 0), this.duration);
  }

  setDuration(seconds) {
    this.duration = seconds;
    this.slider?.setAttribute("aria-valuemax", Math.round(seconds));
    this.draw();
    this.at(this.time);
  }

  /** See twice, or half as much. */
  zoomBy(factor) {
    const most = Math.max(1, this.duration / SHORTEST_VIEW);
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), most);
    this.from = Math.min(Math.max(this.time - this.seen / 2, 0), this.duration - this.seen);
    this.draw();
    this.at(this.time);
  }

  /** Move the cursor. */
  at(seconds) {
    this.time = seconds;
    if (this.zoom > 1 && (seconds < this.from || seconds > this.from + this.seen)) {
      this.from = Math.min(Math.max(seconds - this.seen / 10, 0), this.duration - this.seen);
      this.draw();
    }
    this.cursor.style.setProperty("--at", this.duration ? (seconds - this.from) / this.seen : 0);
    if (this.slider) {
      this.slider.setAttribute("aria-valuenow", Math.round(seconds));
      this.slider.setAttribute("aria-valuetext", `${spoken(seconds)} of ${spoken(this.duration)}`);
    }
    for (const { now, value } of this.lanes) {
      if (!now) continue;
      const text = now(seconds);
      if (text !== value.textContent) value.textContent = text;
    }
  }

  draw() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const { from, seen } = this;
    for (const { canvas, picture, paint, height } of this.lanes) {
      if (!canvas) continue;
      const width = picture.clientWidth;
      const ratio = Math.min(devicePixelRatio || 1, 3);
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      if (!width || !this.duration) continue;
      const context = canvas.getContext("2d");
      context.scale(ratio, ratio);
      const x = (seconds) => ((seconds - from) / seen) * width;
      paint(context, { width, height, x, from, to: from + seen, colour });
    }
  }
}

/** Marks of the time axis: as many as have room. */
export function paintAxis(context, { width, height, x, from, to, colour }) {
  const steps = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
  const step = steps.find((one) => (one / (to - from)) * width > 56) ?? 7200;
  context.fillStyle = colour("muted");
  context.font = "11px system-ui, sans-serif";
  for (let time = Math.ceil(from / step) * step; time < to; time += step) {
    context.fillRect(x(time), 0, 1, 4);
    if (x(time) + 32 < width) context.fillText(clock(time, step < 1), x(time) + 3, height - 2);
  }
}
