// The token of a service that asks for one: kept in this tab alone.
import { byId } from "./dom.js";

const KEY = "ostinato token";
let token = sessionStorage.getItem(KEY);
let asked = null;

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});
export const needed = () => Boolean(token || asked);

function ask(reason) {
  const form = byId("token");
  const field = byId("secret");
  byId("refusal").textContent = reason;
  form.hidden = false;
  field.focus();
  asked ??= new Promise((resolve) => {
    const given = (event) => {
      event.preventDefault();
      form.removeEventListener("submit", given);
      token = field.value.trim();
      sessionStorage.setItem(KEY, token);
      field.value = "";
      form.hidden = true;
      asked = null;
      resolve();
    };
    form.addEventListener("submit", given);
  });
  return asked;
}

function aborted(signal) {
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

/** Call `request(headers)`; where it is refused with 401, ask for a token and call again. */
export async function authorized(request, signal) {
  for (;;) {
    const used = token;
    try {
      return await request(headers());
    } catch (error) {
      if (error.status !== 401) throw error;
      if (used === token) await Promise.race([ask(error.message), aborted(signal)]);
    }
  }
}
