// The page: what is added, the list, what is open.
import { announce, byId, el, plural } from "./dom.js";
import { asCsv, asJson, save } from "./exports.js";
import { ofDrop, ofInput } from "./files.js";
import { createList } from "./list.js";
import { showModels } from "./models.js";
import { openPlayer } from "./player.js";
import { createQueue } from "./queue.js";
import { getJson } from "./service.js";

const PRESSED = "input, button, summary, a"; // what the space bar presses
const MOVED = "input[type=password], [role=slider], [role=region], pre"; // what arrow keys move in
const TYPED = "input[type=password]";
const described = {}; // models by name
let predicting = []; // names
let opened = null; // {entry, player}

const wanted = () => [...document.querySelectorAll("#wanted input:checked")].map((box) => box.value);
const queue = createQueue(() => (predicting.length > 1 ? wanted() : predicting), () => predicting, changed);
const list = createList(byId("list"), { open: openAndGo, cancel: queue.cancel, retry: queue.retry, remove });

function changed(entry) {
  list.show(entry);
  if (opened?.entry === entry) opened.player.update();
  const done = queue.entries.some((one) => one.result);
  for (const id of ["all-json", "all-csv"]) byId(id).disabled = !done;
}

function open(entry) {
  if (opened?.entry === entry) return;
  opened?.player.close();
  const section = byId("opened");
  section.hidden = false;
  opened = { entry, player: openPlayer(entry, section, described, () => queue.retry(entry)) };
  list.mark(entry);
}

/** Open what the user asks for, and go there: from then on, keys play and seek. */
function openAndGo(entry) {
  open(entry);
  byId("opened-title").focus();
  byId("opened").scrollIntoView({ block: "nearest" });
}

function remove(entry) {
  const at = queue.entries.indexOf(entry);
  if (opened?.entry === entry) {
    opened.player.close();
    opened = null;
    byId("opened").hidden = true;
  }
  queue.remove(entry);
  list.drop(entry);
  const next = queue.entries[Math.min(at, queue.entries.length - 1)];
  if (next) list.focus(next);
  else {
    byId("files").hidden = true;
    document.body.classList.remove("busy");
    byId("choose").focus();
  }
}

function add({ files, left }) {
  if (files.length) {
    byId("files").hidden = false;
    byId("served").open = false;
    document.body.classList.add("busy");
  }
  const added = queue.add(files);
  if (added.length && !opened) open(added[0]);
  const others = left ? `; ${plural(left, "file")} of the folder that ${left === 1 ? "is" : "are"} no audio left out` : "";
  announce(`${plural(added.length, "recording")} added${others}`);
}

function accept(promise) {
  promise.then(add).catch(() => announce("What was dropped cannot be read."));
}

for (const id of ["choose", "folder"]) byId(id).addEventListener("change", (event) => add(ofInput(event.target)));
byId("all-json").addEventListener("click", () => save("ostinato.json", asJson(queue.entries.filter((one) => one.result)), "application/json"));
byId("all-csv").addEventListener("click", () => save("ostinato.csv", asCsv(queue.entries.filter((one) => one.result)), "text/csv"));

const withFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!withFiles(event)) return;
  event.preventDefault();
  document.body.classList.toggle("dropping", predicting.length > 0);
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!withFiles(event)) return;
  event.preventDefault();
  if (predicting.length) accept(ofDrop(event.dataTransfer));
});
document.addEventListener("keydown", (event) => {
  if (!opened || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const others = event.key === " " ? PRESSED : event.key.startsWith("Arrow") ? MOVED : TYPED;
  if (!event.target.closest(others)) opened.player.key(event);
});

async function start() {
  const models = await getJson("/v1/models");
  for (const model of models) described[model.name] = model;
  predicting = models.filter((model) => model.task).map((model) => model.name);
  showModels(byId("models"), models);
  byId("add").hidden = !predicting.length;
  byId("wanted").hidden = predicting.length < 2;
  byId("wanted").append(
    ...predicting.map((name) => el("label", { class: "check" }, el("input", { type: "checkbox", value: name, checked: true, onchange: atLeastOne }), name)),
  );
}

/** The last model that is asked cannot be taken away. */
function atLeastOne(event) {
  if (!wanted().length) event.target.checked = true;
}

start().catch((error) => byId("models").replaceChildren(el("p", { class: "note", role: "alert" }, error.message)));
