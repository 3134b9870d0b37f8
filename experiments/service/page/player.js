// The recording that is open: playing, its waveform, and what is said of it.
import { createClicks } from "./clicks.js";
import { clock, el } from "./dom.js";
import { asBeats, asCsv, asJson, save } from "./exports.js";
import { wave } from "./lanes.js";
import { beatsOf, present } from "./results.js";
import { Timeline, paintAxis } from "./timeline.js";
import { LARGEST, LONGEST, peaksOf } from "./waveform.js";

const STATES = {
  waiting: "Waiting for its turn.",
  uploading: "Being sent to the service …",
  computing: "The service is computing …",
  cancelled: "Cancelled: it can be retried in the list.",
};

/** Open an entry in a section: `{update(), key(event), close()}`; `again()` asks the service once more. */
export function openPlayer(entry, section, models, again) {
  const url = URL.createObjectURL(entry.file);
  const audio = el("audio", { preload: "metadata" });
  const stopped = new AbortController();
  const state = { peaks: null, beats: [] };
  let length = 0;
  let shown = null;

  const play = el("button", { class: "primary play", onclick: toggle }, "Play");
  const time = el("output", { class: "time", "aria-label": "Time" }, "0:00.0");
  const position = el("span", { class: "position", "aria-hidden": "true" });
  const clickBox = el("input", { type: "checkbox", id: "clicks", onchange: () => clicks.toggle(clickBox.checked) });
  const clickLabel = el("label", { class: "check", hidden: true }, clickBox, "Clicks at the beats");
  const zoomOut = el("button", { "aria-label": "Zoom out", onclick: () => timeline.zoomBy(0.5) }, "−");
  const zoomIn = el("button", { "aria-label": "Zoom in", onclick: () => timeline.zoomBy(2) }, "+");
  const note = el("p", { class: "small", id: "wave-note" });
  const said = el("p", { id: "said" });
  const hint = el("p", { class: "small hint" }, "Space plays, ← and → move by 5 s, + and − zoom.");
  const cards = el("div", { class: "cards" });
  const exports = el("div", { class: "buttons", hidden: true, id: "exports" });

  const timeline = new Timeline((seconds) => {
    audio.currentTime = seconds;
    follow(seconds);
  });
  timeline.add("recording", wave(state), { height: 96, slider: true });
  timeline.add("", paintAxis, { height: 18 });
  const clicks = createClicks(audio);

  const transport = el("div", { class: "buttons transport" }, play, time, position, clickLabel, el("span", { class: "spring" }), zoomOut, zoomIn);
  const pictures = [transport, timeline.node, hint];

  section.replaceChildren(
    el("h2", { id: "opened-title", title: entry.path, tabindex: -1 }, entry.path),
    transport, timeline.node, note, hint, said, exports, cards, audio,
  );

  function toggle() {
    if (audio.paused) audio.play().catch(() => {});
    else audio.pause();
  }

  function follow(seconds) {
    timeline.at(seconds);
    time.textContent = `${clock(seconds, true)} / ${clock(timeline.duration)}`;
    const last = state.beats.findLast((beat) => beat.seconds <= seconds + 0.02);
    position.textContent = last?.position && seconds - last.seconds < 3 ? `beat ${last.position}` : "";
  }

  function setLength(seconds) {
    if (!(seconds > length) || !Number.isFinite(seconds)) return;
    length = seconds;
    for (const node of pictures) node.hidden = false;
    timeline.setDuration(length);
    follow(timeline.time);
  }

  function frame() {
    if (stopped.signal.aborted || audio.paused) return;
    follow(audio.currentTime);
    requestAnimationFrame(frame);
  }

  async function drawWave() {
    if ((Number.isFinite(audio.duration) && audio.duration > LONGEST) || entry.file.size > 1e6 * LARGEST) {
      note.textContent = `No waveform is drawn of recordings longer than ${LONGEST / 60} minutes, or larger than ${LARGEST} MB.`;
      return;
    }
    try {
      state.peaks = await peaksOf(entry.file, stopped.signal);
      timeline.draw();
    } catch {
      if (!stopped.signal.aborted) note.textContent = "This browser cannot decode the recording, so there is no waveform.";
    }
  }

  const events = {
    loadedmetadata: () => (setLength(audio.duration), drawWave()),
    durationchange: () => setLength(audio.duration),
    timeupdate: () => audio.paused && follow(audio.currentTime),
    play: () => ((play.textContent = "Pause"), requestAnimationFrame(frame)),
    pause: () => ((play.textContent = "Play"), follow(audio.currentTime)),
    error: () => {
      play.disabled = true;
      note.textContent = "This browser cannot play the recording.";
      for (const node of pictures) node.hidden = !length;
    },
  };
  for (const [name, does] of Object.entries(events)) audio.addEventListener(name, does, { signal: stopped.signal });
  audio.src = url;

  function saving(label, suffix, type, text) {
    const name = `${entry.path.split("/").pop()}${suffix}`;
    return el("button", { onclick: () => save(name, text(), type) }, label);
  }

  function update() {
    said.textContent = entry.state === "error" ? entry.detail : STATES[entry.state] ?? "";
    said.hidden = !said.textContent;
    said.className = entry.state === "error" ? "note" : "small";
    if (!entry.result || shown === entry.result) return;
    shown = entry.result;
    timeline.keep(2);
    state.beats = beatsOf(shown);
    cards.replaceChildren(...present(shown, models, timeline));
    clickLabel.hidden = !state.beats.length;
    clicks.setBeats(state.beats);
    exports.replaceChildren(
      el("span", { class: "small" }, "Save as"),
      saving("JSON", ".json", "application/json", () => asJson([entry])),
      saving("CSV", ".csv", "text/csv", () => asCsv([entry])),
    );
    if (state.beats.length) exports.append(saving("Beats as text", ".beats", "text/plain", () => asBeats(state.beats)));
    exports.append(el("span", { class: "spring" }), el("button", { onclick: again }, "Ask again"));
    exports.hidden = false;
    setLength(Math.max(...Object.values(shown.answers).map((answer) => answer.seconds)));
    timeline.draw();
    follow(timeline.time);
  }

  update();
  return {
    update,
    key(event) {
      const seek = (event.key === "ArrowLeft" || event.key === "ArrowRight") && (() => timeline.key(event.key));
      const does = { " ": toggle, "+": () => timeline.zoomBy(2), "-": () => timeline.zoomBy(0.5) }[event.key] || seek;
      if (!does) return;
      does();
      event.preventDefault();
    },
    close() {
      stopped.abort();
      clicks.close();
      audio.pause();
      audio.removeAttribute("src");
      audio.load();
      timeline.close();
      URL.revokeObjectURL(url);
      section.replaceChildren();
    },
  };
}
