// Requests that would end Omniboard: it throws where a file or run does not exist, an id is none, or a query is no
// object, and nobody catches it. They are answered here, and never reach it.
'use strict';

const fs = require('fs');
const { createRequire } = require('module');

const FILE = /\/api\/v1\/files\/(?:(download|preview)\/([^/]*)|([^/]+)\/?$)/i;
const RUN = /\/api\/v1\/(?:runs|sourcefilescount|files\/(?:source|artifacts|downloadall))\/([^/]*)/i;
const ALL = /\/files\/downloadall\/[^/]*\/([^/]*)/i;
const LIST = /\/api\/v1\/(?:runs(?:\/[^/]*)?|sourcefiles)\/?$/i;
const FILE_ID = /^[0-9a-f]{24}$/i;
const RUN_ID = /^-?\d{1,15}$/;

const BAD_QUERY = [400, 'Each parameter is given once, as text, and "query" is a JSON object.'];
const BAD_FILE = [400, 'The id of a file has 24 hexadecimal digits.'];
const BAD_RUN = [400, 'The id of a run is a whole number.'];
const NO_FILE = [404, 'The database does not hold this file, or not the whole of it.'];
const NO_FILES = [404, 'The database lacks files of this run: fetch those that are there one by one.'];
const NO_RUN = [404, 'There is no such run.'];
const AWAY = [503, 'The database does not answer.'];

// The connection that Omniboard has opened, by the library that it opened it with.
function connection() {
  const mongoose = createRequire(fs.realpathSync(process.argv[1]))('mongoose');
  const open = mongoose.connections.find((one) => one.readyState === 1);
  return open && { database: open.db, id: mongoose.Types.ObjectId };
}

function badQuery(parameters) {
  const names = [...parameters.keys()];
  if (names.some((name, place) => name.includes('[') || names.indexOf(name) !== place)) return true;
  const query = parameters.get('query');
  if (!query) return false;
  try {
    const parsed = JSON.parse(query);
    return typeof parsed !== 'object' || parsed === null || Array.isArray(parsed);
  } catch {
    return true;
  }
}

async function isWhole({ database, id }, file, least) {
  const entry = await database.collection('fs.files').findOne({ _id: id(file) });
  if (!entry) return false;
  const chunks = await database.collection('fs.chunks').countDocuments({ files_id: entry._id });
  return chunks >= Math.max(least, Math.ceil(entry.length / entry.chunkSize));
}

// `least`: how many chunks there must be even of an empty file.
async function lackingFile(open, id, least) {
  if (!FILE_ID.test(id)) return BAD_FILE;
  return (await isWhole(open, id, least)) ? null : NO_FILE;
}

async function lackingRun(open, id, kind) {
  if (!RUN_ID.test(id)) return BAD_RUN;
  const fields = { projection: kind ? { artifacts: 1, 'experiment.sources': 1 } : { _id: 1 } };
  const run = await open.database.collection('runs').findOne({ _id: Number(id) }, fields);
  if (!run) return NO_RUN;
  if (!kind) return null;
  const sources = (run.experiment || {}).sources || [];
  const files = /^source_files$/i.test(kind) && sources.length ? sources.map((source) => source[1]) : listed(run);
  const ids = [...new Set(files.map(String))];
  const possible = ids.filter((file) => FILE_ID.test(file)).map((file) => open.id(file));
  const found = await open.database.collection('fs.files').countDocuments({ _id: { $in: possible } });
  return files.length && found === ids.length ? null : NO_FILES;
}

function listed(run) {
  return (run.artifacts || []).map((artifact) => artifact.file_id);
}

// What is wrong with a request, as a status and a sentence; null where Omniboard can answer it.
async function problem(request) {
  const [path, query = ''] = request.url.split('?', 2);
  if (LIST.test(path) && badQuery(new URLSearchParams(query))) return BAD_QUERY;
  const file = FILE.exec(path);
  const run = RUN.exec(path);
  if (!file && (!run || run[1].toLowerCase() === 'count')) return null;
  const open = connection();
  if (!open) return AWAY;
  try {
    if (file) return await lackingFile(open, file[1] ? file[2] : file[3], file[1] ? 0 : 1);
    return await lackingRun(open, run[1], (ALL.exec(path) || [])[1]);
  } catch (error) {
    console.error(error);
    return AWAY;
  }
}

module.exports = { problem };
