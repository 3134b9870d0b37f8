// The list of files: each is sent in its turn, two at a time.
import { predict } from "./service.js";

const AT_A_TIME = 2;

/**
 * @param wanted () => names of the models that are asked now
 * @param all () => names of all models that predict
 * @param changed (entry) => an entry has another state
 */
export function createQueue(wanted, all, changed) {
  const entries = [];
  let running = 0;

  function become(entry, state, detail = "") {
    if (entry.state === state && entry.detail === detail) return;
    entry.state = state;
    entry.detail = detail;
    changed(entry);
  }

  function next() {
    while (running < AT_A_TIME) {
      const entry = entries.find((one) => one.state === "waiting" && !one.controller);
      if (!entry) return;
      run(entry);
    }
  }

  async function run(entry) {
    running += 1;
    const controller = new AbortController();
    entry.controller = controller;
    const mine = () => entry.controller === controller;
    const progress = (share) => mine() && (share < 1 ? become(entry, "uploading", `${Math.round(100 * share)} %`) : become(entry, "computing"));
    const busy = (seconds) => mine() && become(entry, "waiting", `the service is busy, sent again in ${seconds} s`);
    try {
      progress(0);
      const result = await predict(entry.file, wanted(), all(), controller.signal, progress, busy);
      entry.result = result;
      if (mine()) become(entry, "done");
    } catch (error) {
      if (mine() && !controller.signal.aborted) become(entry, "error", error.message);
    } finally {
      if (mine()) entry.controller = null;
      running -= 1;
      next();
    }
  }

  function stop(entry) {
    const { controller } = entry;
    entry.controller = null;
    controller?.abort(new Error("cancelled"));
  }

  return {
    entries,
    /** Add files to the end; those that are in the list already are left out. */
    add(files) {
      const known = new Set(entries.map(keyOf));
      const added = files.filter((one) => !known.has(keyOf(one))).map((one) => ({ ...one, state: "waiting", detail: "", result: null, controller: null }));
      entries.push(...added);
      for (const entry of added) changed(entry);
      next();
      return added;
    },
    cancel(entry) {
      stop(entry);
      become(entry, "cancelled");
    },
    retry(entry) {
      if (entry.controller) return;
      become(entry, "waiting");
      next();
    },
    remove(entry) {
      stop(entry);
      entries.splice(entries.indexOf(entry), 1);
    },
  };
}

const keyOf = ({ path, file }) => `${path}\n${file.size}\n${file.lastModified}`;
