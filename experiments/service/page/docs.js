// The schema of the service, for people: each endpoint with its parameters, responses and a line for a terminal.
import { byId, el } from "./dom.js";
import { line } from "./models.js";
import { getJson } from "./service.js";
import { needed } from "./token.js";

const nameOf = (reference) => reference.split("/").pop();

/** A type in words; of other schemas a link. */
function typeOf(schema) {
  if (!schema || !Object.keys(schema).length) return ["anything"];
  if (schema.$ref) return [el("a", { href: `#${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.flatMap((one, i) => [i ? " or " : "", ...typeOf(one)]);
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((one) => JSON.stringify(one)).join(" or ")];
  if (schema.type === "array") return schema.prefixItems ? ["list of ", String(schema.prefixItems.length), " ", ...typeOf(schema.prefixItems[0])] : ["list of ", ...typeOf(schema.items)];
  if (schema.type === "object" && schema.additionalProperties) return ["map of names to ", ...typeOf(schema.additionalProperties)];
  const { minimum: low, maximum: high } = schema;
  return [schema.format === "binary" ? "file" : schema.type, low === undefined && high === undefined ? "" : ` (${low ?? ""} to ${high ?? ""})`];
}

/** A text with what stands between backticks as code. */
const marked = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));

function table(columns, rows) {
  const head = el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))));
  return el("div", { class: "scroll whole", tabindex: 0, role: "region", "aria-label": columns.join(", ") }, el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}

const example = (value) => (value === undefined ? "" : JSON.stringify(value));

function fieldsOf(name, schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([field, one]) => [
    field + (required.has(field) ? "" : " (optional)"), typeOf(one), marked(one.description ?? ""), example(one.examples?.[0]),
  ]);
  const shown = rows.length ? table(["field", "type", "meaning", "example"], rows) : el("p", {}, typeOf(schema));
  return el("article", { class: "card", id: name }, el("h3", {}, name), schema.description ? el("p", { class: "small" }, marked(schema.description)) : null, shown);
}

function curlOf(method, path, operation) {
  const words = ["curl"];
  if (needed()) words.push('-H "Authorization: Bearer $TOKEN"');
  if (operation.requestBody) words.push("-F audio=@song.mp3");
  else if (method !== "get") words.push(`-X ${method.toUpperCase()}`);
  words.push(location.origin + path);
  return words.join(" ");
}

function answersOf(operation) {
  return Object.entries(operation.responses ?? {}).map(([status, { description, content = {} }]) => {
    const types = Object.entries(content).flatMap(([media, { schema }], i) => [i ? ", or " : "", ...(schema ? typeOf(schema) : []), ` ${media}`]);
    return [status, description ?? "", types];
  });
}

function operationOf(path, method, operation) {
  const parameters = (operation.parameters ?? []).map((one) => [
    one.name, typeOf(one.schema), marked(one.description ?? one.schema?.description ?? ""), example(one.schema?.default),
  ]);
  const body = Object.keys(operation.requestBody?.content ?? {}).join(", ");
  return el(
    "article",
    { class: "card" },
    el("h3", {}, el("code", {}, `${method.toUpperCase()} ${path}`)),
    el("p", {}, marked(operation.description ?? operation.summary ?? "")),
    line(curlOf(method, path, operation)),
    body ? el("p", { class: "small" }, `Body: ${body}`) : null,
    parameters.length ? table(["parameter", "type", "meaning", "default"], parameters) : null,
    el("details", {}, el("summary", {}, "Responses"), table(["status", "meaning", "content"], answersOf(operation))),
  );
}

async function start() {
  const schema = await getJson("/openapi.json");
  byId("about").textContent = schema.info.description ?? "";
  const operations = Object.entries(schema.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationOf(path, method, operation)));
  const schemas = Object.entries(schema.components?.schemas ?? {}).map(([name, one]) => fieldsOf(name, one));
  byId("paths").append(el("h2", {}, "Endpoints"), ...operations, el("h2", {}, "Types"), ...schemas);
  if (location.hash) byId(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

start().catch((error) => byId("paths").append(el("p", { class: "note", role: "alert" }, error.message)));
