// Peaks of a recording, from the browser's own decoder, without holding up the page.

export const LONGEST = 20 * 60; // seconds; longer recordings would take gigabytes when they are decoded
export const LARGEST = 300; // MB
const RATE = 16000; // Hz to which the browser resamples: for a picture it is enough
const PEAKS = 50; // a second
const CHUNK = 1 << 20; // samples between two pauses

const pause = () => new Promise((resolve) => setTimeout(resolve));

/** Peaks of a file, scaled to 1: `{values, rate}`; throws where the browser cannot decode it. */
export async function peaksOf(file, signal) {
  const bytes = await file.arrayBuffer();
  const audio = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes);
  const each = Math.round(audio.sampleRate / PEAKS);
  const values = new Float32Array(Math.ceil(audio.length / each));
  for (let channel = 0; channel < audio.numberOfChannels; channel += 1) {
    const samples = audio.getChannelData(channel);
    for (let start = 0; start < samples.length; start += CHUNK) {
      signal.throwIfAborted();
      const end = Math.min(start + CHUNK, samples.length);
      for (let i = start; i < end; i += 1) {
        const level = Math.abs(samples[i]);
        const at = Math.floor(i / each);
        if (level > values[at]) values[at] = level;
      }
      await pause();
    }
  }
  const most = values.reduce((one, other) => Math.max(one, other), 1e-6);
  return { values: values.map((value) => value / most), rate: audio.sampleRate / each };
}
