// Clicks at beats, in sync with what is heard of the recording.

const AHEAD = 0.25; // seconds that clicks are scheduled before they are heard
const EVERY = 40; // ms between two looks
const JUMP = 0.06; // seconds: the two clocks differ by more only after a jump

function clickSound(context, hertz, gain) {
  const buffer = context.createBuffer(1, Math.round(0.04 * context.sampleRate), context.sampleRate);
  const samples = buffer.getChannelData(0);
  for (let i = 0; i < samples.length; i += 1) {
    const seconds = i / context.sampleRate;
    samples[i] = gain * Math.sin(2 * Math.PI * hertz * seconds) * Math.exp(-seconds / 0.008);
  }
  return buffer;
}

/** Time of the context that is heard now. */
function heard(context) {
  const { contextTime = 0, performanceTime = 0 } = context.getOutputTimestamp?.() ?? {};
  const now = contextTime + (performance.now() - performanceTime) / 1000;
  const plain = context.currentTime - (context.outputLatency || 0);
  return contextTime > 0 && Math.abs(now - plain) < 0.5 ? now : plain;
}

/** Clicks of a player: `{toggle(on), setBeats(beats), close()}`; downbeats are higher and louder. */
export function createClicks(audio) {
  let beats = [];
  let context = null;
  let sounds = null;
  let timer = null;
  let offset = null; // of the context's clock to the recording's
  let next = 0;
  let waiting = [];

  function silence() {
    for (const source of waiting) source.stop();
    waiting = [];
    offset = null;
  }

  function look() {
    if (audio.paused || audio.seeking || audio.readyState < 3) {
      silence();
      return;
    }
    const measured = heard(context) - audio.currentTime;
    if (offset === null || Math.abs(measured - offset) > JUMP) {
      silence();
      offset = measured;
      next = beats.findIndex((beat) => beat.seconds >= audio.currentTime);
      if (next < 0) next = beats.length;
    } else {
      offset += 0.1 * (measured - offset);
    }
    for (; next < beats.length && beats[next].seconds < audio.currentTime + AHEAD; next += 1) {
      const source = context.createBufferSource();
      source.buffer = beats[next].position === 1 ? sounds.down : sounds.beat;
      source.connect(context.destination);
      source.onended = () => (waiting = waiting.filter((one) => one !== source));
      source.start(Math.max(beats[next].seconds + offset, context.currentTime));
      waiting.push(source);
    }
  }

  function toggle(on) {
    clearInterval(timer);
    silence();
    if (!on) return;
    context ??= new AudioContext({ latencyHint: "interactive" });
    sounds ??= { down: clickSound(context, 1600, 0.9), beat: clickSound(context, 1000, 0.5) };
    context.resume();
    timer = setInterval(look, EVERY);
  }

  for (const event of ["seeking", "pause"]) audio.addEventListener(event, silence);
  return {
    toggle,
    setBeats(found) {
      silence();
      beats = found;
    },
    close() {
      toggle(false);
      context?.close();
    },
  };
}
