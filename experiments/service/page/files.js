// Files that are chosen or dropped, those of folders included.

export const SUFFIXES = new Set(
  ("wav wave bwf flac ogg oga opus mp3 mp2 mpga aif aiff aifc au snd caf w64 rf64 m4a mp4 m4b m4r 3gp aac wma mka webm " +
    "weba ac3 eac3 dts ape wv mpc tta tak dsf dff spx amr ra").split(" "),
);

const byPath = (one, other) => one.path.localeCompare(other.path, undefined, { numeric: true });
const isAudio = ({ file }) => SUFFIXES.has(file.name.split(".").pop().toLowerCase()) && !file.name.startsWith(".");

/** Files of an input, with their paths; those of a folder only where they are audio, by their suffix. */
export function ofInput(input) {
  const found = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  input.value = "";
  return sorted(found, input.webkitdirectory);
}

function sorted(found, fromFolder) {
  const kept = fromFolder ? found.filter(isAudio) : found;
  return { files: kept.sort(byPath), left: found.length - kept.length };
}

const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));
const someOf = (reader) => new Promise((resolve, reject) => reader.readEntries(resolve, reject));

async function walk(entry, found) {
  if (entry.isFile) {
    found.push({ file: await fileOf(entry), path: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (let some = await someOf(reader); some.length; some = await someOf(reader)) {
    for (const one of some) await walk(one, found);
  }
}

/** Files of a drop, and those of dropped folders where they are audio. */
export async function ofDrop(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  const plain = [...transfer.files].map((file) => ({ file, path: file.name }));
  if (entries.some((entry) => !entry)) return sorted(plain, false);
  const single = [];
  const inFolders = [];
  for (const entry of entries) await walk(entry, entry.isFile ? single : inFolders);
  const kept = sorted(inFolders, true);
  return { files: [...single, ...kept.files].sort(byPath), left: kept.left };
}
