// Requests to the service.
import { authorized } from "./token.js";

/** A request that the service did not answer: its status (0: no answer at all) and its words. */
export class Refused extends Error {
  constructor(status, detail, wait = null) {
    super(detail);
    this.status = status;
    this.wait = wait; // seconds after which to ask again, where the service says so
  }
}

const CUT = "The connection was cut. The service may have been stopped, or the file is larger than it takes, or has changed.";

function refusal(status, problem, retryAfter) {
  const busy = status === 429 || status === 503;
  const wait = Number.parseInt(retryAfter ?? "", 10);
  const detail = problem?.detail || `The service answered with status ${status}.`;
  return new Refused(status, detail, busy && (status === 429 || wait >= 0) ? Math.max(1, wait || 2) : null);
}

/** A document of the service. */
export function getJson(path) {
  return authorized(async (headers) => {
    const response = await fetch(path, { headers }).catch(() => {
      throw new Refused(0, "The service does not answer. Is it running?");
    });
    const content = await response.json().catch(() => null);
    if (!response.ok) throw refusal(response.status, content, response.headers.get("Retry-After"));
    return content;
  });
}

/** Upload a file; `progress(share)` is told how much of it was sent, 1 when all was. */
function post(path, file, headers, signal, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not say how much was sent
    const form = new FormData();
    form.append("audio", file, file.name);
    const abort = () => request.abort();
    request.open("POST", path);
    request.responseType = "json";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.total ? event.loaded / event.total : 0);
    request.upload.onload = () => progress(1);
    request.onloadend = () => signal.removeEventListener("abort", abort);
    request.onerror = () => reject(new Refused(0, CUT));
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      const { status, response } = request;
      if (status === 200 && response) resolve(response);
      else reject(refusal(status, response, request.getResponseHeader("Retry-After")));
    };
    signal.addEventListener("abort", abort);
    request.send(form);
  });
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** Upload a file; where the service is busy, wait as long as it says and try again. */
async function patiently(path, file, signal, progress, busy) {
  for (;;) {
    try {
      return await authorized((headers) => post(path, file, headers, signal, progress), signal);
    } catch (error) {
      if (!error.wait) throw error;
      for (let left = error.wait; left > 0; left -= 1) {
        busy(left);
        await sleep(1, signal);
      }
    }
  }
}

/**
 * What models say of a file: `{answers, problems}` by the names of models.
 *
 * The file is sent once where all models are wanted, and to each of them where only some are.
 */
export async function predict(file, wanted, all, signal, progress, busy) {
  const query = "?over_time=true";
  if (wanted.length === all.length && all.length > 1) {
    return patiently(`/v1/predict${query}`, file, signal, progress, busy);
  }
  const found = { answers: {}, problems: {} };
  let last = null;
  for (const name of wanted) {
    try {
      const path = `/v1/${encodeURIComponent(name)}/predict${query}`;
      found.answers[name] = await patiently(path, file, signal, progress, busy);
    } catch (error) {
      if (error.status !== 422) throw error;
      found.problems[name] = error.message;
      last = error;
    }
  }
  if (last && !Object.keys(found.answers).length) throw last;
  return found;
}
